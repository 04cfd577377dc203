"""Masks: exact counts, 80/10/10, never a special token, whole words in three kinds of vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.data import TokenStore
from workbench.data.corruption import masking, sentence_pairs
from workbench.data.corruption.words import WordTable, scheme_of
from workbench.data.draws import Draws
from workbench.data.framing import Frame
from workbench.data.pieces import PieceRows
from workbench.errors import DataError

MASK = 3
SPECIAL = {0, 1, 2, MASK}
VOCABULARY = 200
REPLACEMENTS = np.arange(4, VOCABULARY)


def masked_row(seed: int, size: int = 100, share: float = 0.15) -> tuple[NDArray[np.int64], masking.Masked]:
    """A row `[1] text [2]`, masked as the objective does it."""
    draws = Draws(seed)
    text = np.random.default_rng(seed).integers(4, VOCABULARY, size)
    tokens = np.concatenate(([1], text, [2]))
    selected = masking.select(~np.isin(tokens, list(SPECIAL)), share, draws)
    return tokens, masking.hide(tokens, selected, draws, mask_id=MASK, replacements=REPLACEMENTS)


def test_fifteen_in_a_hundred_are_selected_exactly_and_hidden_as_8_1_1() -> None:
    hidden = random = kept = total = 0
    places = np.zeros(102)
    for seed in range(1500):
        tokens, (input_ids, targets) = masked_row(seed)
        chosen = targets != masking.NO_TARGET
        assert chosen.sum() == 15
        assert (targets[chosen] == tokens[chosen]).all()
        assert (input_ids[~chosen] == tokens[~chosen]).all()
        assert not chosen[[0, -1]].any()
        places += chosen
        masks = input_ids[chosen] == MASK
        assert not np.isin(input_ids[chosen][~masks], list(SPECIAL)).any()
        hidden += int(masks.sum())
        kept += int((input_ids[chosen] == tokens[chosen]).sum())
        random += int((~masks & (input_ids[chosen] != tokens[chosen])).sum())
        total += 15
    deviation = np.sqrt(total * 0.8 * 0.2) / total
    assert hidden / total == pytest.approx(0.8, abs=4 * deviation)
    # One random token in 196 is the original again.
    chance = 1 / len(REPLACEMENTS)
    deviation = np.sqrt(total * 0.1 * 0.9) / total
    assert random / total == pytest.approx(0.1 * (1 - chance), abs=4 * deviation)
    assert kept / total == pytest.approx(0.1 * (1 + chance), abs=4 * deviation)
    expected = 1500 * 0.15
    squares = ((places[1:-1] - expected) ** 2 / (expected * 0.85)).sum()
    assert 60 < squares < 150, "every place is selected as often as any other"


def test_random_replacements_are_spread_over_the_whole_vocabulary() -> None:
    tokens = np.full(40_000, 7)
    shares = {"mask_share": 0.0, "random_share": 1.0}
    hidden = masking.hide(
        tokens, np.ones(40_000, np.bool_), Draws(1), mask_id=MASK, replacements=REPLACEMENTS, **shares
    )
    counts = np.bincount(hidden.input_ids, minlength=VOCABULARY)
    assert not counts[list(SPECIAL)].any()
    expected = 40_000 / len(REPLACEMENTS)
    squares = ((counts[4:] - expected) ** 2 / expected).sum()
    assert 120 < squares < 290, "a chi-square of 195 degrees of freedom"


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (2, 1), (3, 1), (10, 2), (20, 3), (23, 3), (127, 19)])
def test_the_count_is_rounded_and_at_least_one(size: int, expected: int) -> None:
    _, masked = masked_row(0, size)
    assert (masked.targets != masking.NO_TARGET).sum() == expected


def test_a_row_of_special_tokens_alone_has_nothing_to_hide() -> None:
    for words in (None, np.arange(3)):
        assert not masking.select(np.zeros(3, np.bool_), 0.15, Draws(0), words).any()


BYTE_LEVEL = [
    "[CLS]",
    "Ġ",
    "Ġking",
    "dom",
    "s",
    ".",
    "Ċ",
    "ĠÃ",
    "©",
    "t",
    "(",
    "_",
    "ĠĠĠ",
    "def",
    "Ġ(",
    "[SEP]",
]
WORDPIECE = ["[CLS]", "king", "##dom", "##s", ".", "def", "[SEP]"]
SENTENCEPIECE = ["[CLS]", "▁", "▁king", "dom", "s", ".", "(", "def", "[SEP]"]


@pytest.mark.parametrize(
    ("vocabulary", "text", "words"),
    [
        (
            BYTE_LEVEL,
            "[CLS] Ġking dom s . Ċ def ( s ) Ġ( _ s ĠÃ © t ĠĠĠ Ġking Ġ def [SEP]",
            "[CLS]|Ġking dom s|.|Ċ|def|(|s|Ġ(|_|s|ĠÃ © t|ĠĠĠ|Ġking|Ġ def|[SEP]",
        ),
        (WORDPIECE, "[CLS] king ##dom ##s . def [SEP]", "[CLS]|king ##dom ##s|.|def|[SEP]"),
        (
            SENTENCEPIECE,
            "[CLS] ▁king dom s . ( def ▁ def [SEP]",
            "[CLS]|▁king dom s|.|(|def|▁ def|[SEP]",
        ),
        (["[CLS]", "a", "b", "[SEP]"], "[CLS] a b a [SEP]", "[CLS]|a|b|a|[SEP]"),
    ],
    ids=["byte-level", "wordpiece", "sentencepiece", "characters"],
)
def test_a_word_is_all_its_pieces(vocabulary: list[str], text: str, words: str) -> None:
    ids = {token: index for index, token in enumerate(vocabulary)}
    table = WordTable.of(ids, {0, len(vocabulary) - 1})
    tokens = np.array([ids[token] for token in text.split() if token in ids])
    numbers = table.words(tokens, table.ordinary[tokens])
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    found = "|".join(" ".join(vocabulary[i] for i in part) for part in np.split(tokens, cuts))
    assert found == words


def test_the_kind_of_a_vocabulary_is_what_most_of_its_tokens_say() -> None:
    assert scheme_of([*BYTE_LEVEL, "##", "####"]) == "byte"
    assert scheme_of(WORDPIECE) == "wordpiece"
    assert scheme_of(SENTENCEPIECE) == "sentencepiece"
    assert scheme_of("abc") == "none"


@pytest.mark.parametrize("seed", range(30))
def test_whole_words_are_taken_together_and_the_count_is_met(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, 60)
    words = np.repeat(np.arange(60), sizes)
    may_hide = np.ones(len(words), np.bool_)
    selected = masking.select(may_hide, 0.15, Draws(seed), words)
    shares = np.bincount(words, selected) / sizes
    assert set(shares) <= {0.0, 1.0}
    assert selected.sum() == masking.wanted(len(words), 0.15), "there are words of one piece to fill up with"


def test_a_row_of_one_long_word_is_hidden_as_a_whole() -> None:
    selected = masking.select(np.ones(9, np.bool_), 0.15, Draws(0), np.zeros(9, np.int64))
    assert selected.all()


def pair_rows(store: TokenStore) -> PieceRows:
    return PieceRows(store, 40, stride=37, frame=Frame((1,), (2,)), packing=False, seed=1)


def test_pairs_are_cut_at_sentences_and_half_of_them_are_exchanged(
    make_store: Callable[..., TokenStore],
) -> None:
    full_stop = 9
    documents = []
    for number in range(50):
        body = [20 + number] * 33
        body[6::7] = [full_stop] * len(body[6::7])
        documents.append([1, *body, 2])
    rows = pair_rows(make_store(documents))
    ends = np.zeros(100, np.bool_)
    ends[full_stop] = True
    labels = []
    for number in range(1000):
        (row,) = rows.rows(number, 1)
        found = sentence_pairs.pair(row, rows, ends, Draws(7, number))
        own = 20 + row.pieces[0].document
        assert found.first[-1] == full_stop and len(found.second)
        assert set(found.first) <= {own, full_stop}
        assert len(found.first) + len(found.second) <= 33
        theirs = set(found.second) - {full_stop}
        assert len(theirs) == 1
        assert (theirs == {own}) == (found.label == sentence_pairs.FOLLOWS)
        # Both kinds begin with a sentence: seven tokens, or what the last one has.
        first_stop = np.flatnonzero(found.second == full_stop)[:1]
        assert not len(first_stop) or first_stop[0] == 6
        if found.label == sentence_pairs.FOLLOWS:
            whole = np.concatenate([found.first, found.second])
            assert (whole == row.pieces[0].tokens).all()
        labels.append(found.label)
    assert np.mean(labels) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(1000))


def test_a_piece_of_one_token_is_followed_by_another_document(make_store: Callable[..., TokenStore]) -> None:
    rows = pair_rows(make_store([[1, 50, 2], [1, *range(60, 90), 2]]))
    row = next(row for row in rows.rows(0, 2) if len(row.pieces[0].tokens) == 1)
    for seed in range(10):
        found = sentence_pairs.pair(row, rows, np.zeros(100, np.bool_), Draws(seed))
        assert found.label == sentence_pairs.ELSEWHERE
        assert found.first.tolist() == [50] and 60 <= found.second[0] < 90
        assert len(found.second) <= 36


def test_a_single_document_gives_no_pairs(make_store: Callable[..., TokenStore]) -> None:
    with pytest.raises(DataError, match="needs two documents") as caught:
        sentence_pairs.check_documents(pair_rows(make_store([[1, *range(10, 60), 2]])))
    assert "next_sentence_prediction=false" in str(caught.value.hint)
