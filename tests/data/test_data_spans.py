"""Spans that are cut out of a text, masks for them, and orders: counts, shapes, ways back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from workbench.data import TokenStore
from workbench.data.corruption import infilling, spans
from workbench.data.corruption.permutation import CONTEXT, choose_spans, ranks
from workbench.data.corruption.spans import NO_SPAN, SpanNoise
from workbench.data.draws import Draws
from workbench.data.framing import Frame
from workbench.data.pieces import PieceRows

LENGTHS = [*range(1, 40), 63, 64, 65, 127, 200, 511, 1000]
NOISES = [
    SpanNoise(0.15, 3.0),
    SpanNoise(0.3, 3.0),
    SpanNoise(0.5, 1.0),
    SpanNoise(0.9, 2.5),
    SpanNoise(0.01, 9),
]
SENTINELS = np.arange(5000, 6000)
MASK = 4999
T5 = SpanNoise(0.15, 3.0)


def text(length: int) -> spans.Tokens:
    return np.random.default_rng(length).integers(0, 4000, length)


@pytest.mark.parametrize("noise", NOISES)
def test_what_is_cut_out_comes_back(noise: SpanNoise) -> None:
    for length in LENGTHS:
        for seed in range(3):
            original = text(length)
            found = spans.corrupt(original, SENTINELS, noise, Draws(seed, length))
            assert (spans.restore(found.inputs, found.targets, SENTINELS) == original).all()
            gone, count = noise.counts(length)
            used = found.inputs[found.marks != NO_SPAN]
            assert (used == SENTINELS[:count]).all(), "each once, in order"
            assert (found.targets[found.spans == NO_SPAN] == used).all()
            assert len(found.inputs) == noise.input_length(length) == length - gone + count
            assert len(found.targets) == noise.target_length(length) == gone + count
            assert (found.marks[found.marks != NO_SPAN] == np.arange(count)).all()
            sizes = np.bincount(found.spans[found.spans != NO_SPAN], minlength=count)
            assert sizes.sum() == gone and sizes.min() >= 1


@pytest.mark.parametrize("noise", NOISES)
def test_spans_take_turns_and_begin_with_text(noise: SpanNoise) -> None:
    for length in LENGTHS[1:]:
        found = spans.corrupt(text(length), SENTINELS, noise, Draws(1, length))
        is_sentinel = found.marks != NO_SPAN
        assert not is_sentinel[0] and is_sentinel[-1]
        assert not (is_sentinel[1:] & is_sentinel[:-1]).any()
        assert found.targets[0] == SENTINELS[0] and found.targets[-1] < 4000


def test_the_lengths_are_those_of_t5() -> None:
    # Raffel et al. 2020: 512 tokens read, EOS included, come of 568, and 114 are to be said.
    assert T5.raw_length(511) == 568
    assert T5.input_length(568) + 1 == 512 and T5.target_length(568) + 1 == 114
    assert T5.counts(100) == (15, 5)
    assert [T5.counts(length) for length in (1, 2, 3, 10)] == [(1, 1), (1, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("noise", NOISES)
def test_every_window_is_filled_exactly(noise: SpanNoise) -> None:
    # Where each kept token stands between two spans, one place may stay empty.
    crowded = noise.density >= 0.5
    for room in range(2, 300):
        raw = noise.raw_length(room)
        assert room - crowded <= noise.input_length(raw) <= room < noise.input_length(raw + 1)
        bounded = noise.raw_length(room, 40)
        assert noise.target_length(bounded) <= 40 and bounded <= raw
    steps = np.diff([noise.input_length(length) for length in range(1, 3000)])
    assert set(steps) <= ({0, 1, 2} if crowded else {0, 1})


def test_a_span_is_as_likely_anywhere() -> None:
    gone = np.zeros(100)
    for seed in range(2000):
        found = spans.corrupt(np.arange(100), SENTINELS, T5, Draws(seed))
        gone[found.targets[found.spans != NO_SPAN]] += 1
    # But for the first token, which stays, and the last, which does not.
    assert gone[0] == 0 and gone[-1] == 2000
    assert gone[20:80].mean() / 2000 == pytest.approx(0.14, abs=0.02)
    assert gone[20:80].std() < 40


@pytest.mark.parametrize("noise", NOISES)
def test_infilling_keeps_what_it_does_not_mask(noise: SpanNoise) -> None:
    inserted = 0
    for length in LENGTHS:
        for seed in range(3):
            original = text(length)
            found = infilling.corrupt(original, MASK, noise, Draws(seed, length))
            assert (found.targets == original).all()
            budget = min(max(round(length * noise.density), 1), length)
            assert (found.spans != NO_SPAN).sum() == budget
            # Put the text back in the place of each mask.
            back = [
                original[found.spans == mark] if mark != NO_SPAN else np.array([token])
                for token, mark in zip(found.inputs, found.marks, strict=True)
            ]
            assert (np.concatenate(back) == original).all()
            masked = found.inputs == MASK
            assert ((found.marks != NO_SPAN) == masked).all()
            assert not (masked[1:] & masked[:-1]).any()
            assert 1 <= masked.sum() <= budget and len(found.inputs) <= length
            inserted += int(masked.sum()) - len(np.unique(found.spans[found.spans != NO_SPAN]))
    # Masks that stand for nothing, where there is room for them.
    assert inserted > 0 or noise.density > 0.5 or noise.mean_length > 5


def test_span_lengths_are_those_of_poisson() -> None:
    draws = Draws(7)
    lengths = np.concatenate([infilling.span_lengths(300, 3.0, draws)[:-1] for _ in range(60)])
    assert lengths.mean() == pytest.approx(3, abs=0.1)
    assert lengths.var() == pytest.approx(3, abs=0.25)
    assert (lengths == 0).mean() == pytest.approx(np.exp(-3), abs=0.01)
    assert all(infilling.span_lengths(budget, 3.0, draws).sum() == budget for budget in range(1, 50))


def test_draws_decide_and_nothing_else() -> None:
    original = text(200)
    for corrupt in (
        lambda seed: spans.corrupt(original, SENTINELS, T5, Draws(seed)),
        lambda seed: infilling.corrupt(original, MASK, T5, Draws(seed)),
    ):
        assert all((a == b).all() for a, b in zip(corrupt(1), corrupt(1), strict=True))
        assert any(a.shape != b.shape or (a != b).any() for a, b in zip(corrupt(1), corrupt(2), strict=True))


@pytest.mark.parametrize(("share", "longest"), [(1 / 6, 5), (1 / 6, 1), (0.5, 3), (0.9, 8), (0.01, 5)])
def test_chosen_spans_have_their_share(share: float, longest: int) -> None:
    for length in LENGTHS:
        may = np.random.default_rng(length).random(length) < 0.9
        chosen = choose_spans(may, share, longest, Draws(3, length))
        assert not chosen[~may].any()
        assert chosen.sum() == (max(1, round(share * may.sum())) if may.any() else 0)
    assert not choose_spans(np.zeros(9, np.bool_), share, longest, Draws(3)).any()


def test_chosen_spans_are_short_and_everywhere() -> None:
    counts, runs = np.zeros(300), np.zeros(40)
    for seed in range(1500):
        chosen = choose_spans(np.ones(300, np.bool_), 1 / 6, 5, Draws(seed))
        counts += chosen
        ends = np.flatnonzero(np.diff(np.concatenate(([0], chosen, [0]))))
        runs += np.bincount(ends[1::2] - ends[::2], minlength=40)[:40]
    assert counts.mean() / 1500 == pytest.approx(1 / 6)
    assert counts.min() / 1500 > 0.1 and counts.max() / 1500 < 0.23
    # Neighbours may touch, which makes longer runs; short ones are the most, as 1/k has it.
    assert runs[6:].sum() < 0.05 * runs.sum() and runs[1] > runs[2] > runs[3] > runs[4]


def test_ranks_are_an_order_of_what_is_chosen() -> None:
    chosen = np.random.default_rng(0).random(50) < 0.3
    found = ranks(chosen, Draws(1))
    assert (found[~chosen] == CONTEXT).all()
    assert (np.sort(found[chosen]) == np.arange(chosen.sum())).all()
    assert (found != ranks(chosen, Draws(2))).any()


@pytest.mark.parametrize("frame", [Frame((), (1,)), Frame((0,), (1,))])
@pytest.mark.parametrize("packing", [True, False])
def test_piece_sizes_are_those_of_the_pieces(
    make_store: Callable[..., TokenStore], frame: Frame, packing: bool
) -> None:
    sizes = [3, 40, 0, 1, 17, 16, 15, 90, 2, 2, 2]
    documents = [[*frame.prefix, *range(10, 10 + size), *frame.suffix] for size in sizes]
    rows = PieceRows(make_store(documents), 18, stride=16, frame=frame, packing=packing, shuffle=False)
    found = [
        (row.index, len(piece.tokens)) for row in rows.rows(0, rows.rows_per_epoch(0)) for piece in row.pieces
    ]
    numbers, counts = rows.piece_sizes()
    assert list(zip(numbers.tolist(), counts.tolist(), strict=True)) == found
    assert counts.sum() == sum(sizes)
