"""Agreement, bias and strength against published examples, other fits, and people who are made up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import choix
import numpy as np
import pytest
from ranking_sessions import session_of

from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database
from workbench.store.preferences.judgements import UNKNOWN, Judgement, judgements
from workbench.store.preferences.ranks import dense, middle
from workbench.store.preferences.statistics.agreement import agreement, krippendorff_alpha
from workbench.store.preferences.statistics.choices import as_choices, fit
from workbench.store.preferences.statistics.consistency import position_bias, self_agreement, share
from workbench.store.preferences.statistics.leaderboard import Leaderboard, Method, leaderboard
from workbench.store.preferences.statistics.uncertainty import by_uncertainty, uncertainty

METHODS: tuple[Method, ...] = ("bradley-terry", "plackett-luce")


def judged(
    item: int,
    models: str,
    ranks: Sequence[int],
    annotator: str = "ann",
    *,
    occasion: int = 0,
    kind: str = "rank",
) -> Judgement:
    numbers = tuple(ord(model) for model in models)
    return Judgement(item, annotator, numbers, tuple(models), tuple(ranks), occasion, kind)


def units(table: str) -> list[list[float]]:
    """The values of each unit of a table with a line for each observer, `*` for what is missing."""
    rows = [line.split() for line in table.strip().splitlines()]
    return [[float(row[n]) for row in rows if row[n] != "*"] for n in range(len(rows[0]))]


def test_alpha_is_that_of_the_published_examples() -> None:
    # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability: part C, four observers and 12 units.
    four = units(
        """1 2 3 3 2 1 4 1 2 * * *
           1 2 3 3 2 2 4 1 2 5 * 3
           * 3 3 3 2 3 4 2 2 5 1 *
           1 2 3 3 2 4 4 1 2 5 1 *"""
    )
    for level, alpha in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        assert krippendorff_alpha(four, level) == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]
    # Its part A, two observers of ten units and two values, and part B, of twelve units and five values.
    binary = units("0 1 0 0 0 0 0 0 1 0\n1 1 1 0 0 1 0 0 0 0")
    assert krippendorff_alpha(binary) == pytest.approx(0.095, abs=5e-4)
    letters = units("1 1 2 2 4 3 3 3 5 4 4 1\n2 1 2 2 2 3 3 3 5 4 4 4")
    assert krippendorff_alpha(letters) == pytest.approx(0.692, abs=5e-4)
    # Three observers of 15 units, many values missing: the example of the encyclopaedia.
    three = units(
        """* * * * * 3 4 1 2 1 1 3 3 * 3
           1 * 2 1 3 3 4 3 * * * * * * *
           * * 2 1 3 4 4 * 2 1 1 3 3 * 4"""
    )
    assert krippendorff_alpha(three) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha(three, "interval") == pytest.approx(0.811, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Coincidences: o(1,1) = 2, o(1,2) = o(2,1) = 1, n = 4, n1 = 3, n2 = 1: 1 − 3·2/(2·3·1) = 0.
    assert krippendorff_alpha([[1, 1], [1, 2]]) == pytest.approx(0.0)
    # Ordinal: values 1, 2, 3 with n = 2, 1, 1: δ²(1,2) = (2/2 + 1/2)² = 2.25, δ²(2,3) = (1/2 + 1/2)² = 1 and
    # δ²(1,3) = (2/2 + 1 + 1/2)² = 6.25.
    # Of units (1,1) and (2,3): 1 − 3·(2·1)/(2·(2·2.25 + 2·6.25 + 1·1)) = 1 − 6/36.
    assert krippendorff_alpha([[1, 1], [2, 3]], "ordinal") == pytest.approx(1 - 6 / 36)
    assert krippendorff_alpha([[1, 1], [2, 2], [3]]) == 1.0
    assert krippendorff_alpha([[1, 1], [1]]) is None and krippendorff_alpha([]) is None


def test_agreement_is_one_for_the_like_minded_and_knows_no_sides() -> None:
    said = [
        judged(item, "abc" if who == "ann" else "cba", (1, 2, 3) if who == "ann" else (3, 2, 1), who)
        for item in range(5)
        for who in ("ann", "bob")
    ]
    found = agreement(said, resamples=50)
    assert (found.annotators, found.items) == (2, 5)
    assert found.ranks is not None and found.pairs is not None
    assert found.ranks.value == found.pairs.value == found.pairs.low == found.ranks.high == 1.0
    # The unknown may be any number of people, one's second thoughts are not another's, and one alone agrees
    # with nobody.
    alone = [judged(1, "ab", (1, 2)), judged(1, "ab", (2, 1), occasion=1), judged(1, "ab", (1, 2), UNKNOWN)]
    assert agreement(alone).pairs is None and agreement([]).items == 0
    opposed = agreement([judged(1, "ab", (1, 2)), judged(1, "ab", (2, 1), "bob")], resamples=10)
    assert opposed.pairs is not None and opposed.pairs.value < 0


def test_ranks_are_made_dense_or_put_in_the_middle() -> None:
    assert dense([1, 2, 2, 4]) == (1, 2, 2, 3) and dense([7, 7]) == (1, 1)
    assert middle([1, 2, 2, 4]) == (1.0, 2.5, 2.5, 4.0) and middle([1, 1, 1]) == (2.0, 2.0, 2.0)


def test_agreement_with_oneself_is_of_what_came_again() -> None:
    said = [
        judged(1, "abc", (1, 2, 3)),
        judged(1, "cba", (3, 2, 1), occasion=1),  # the same, seen the other way round
        judged(2, "abc", (1, 2, 3)),
        judged(2, "cba", (3, 1, 2), occasion=1),  # one of three pairs the other way
        judged(3, "ab", (1, 1)),
        judged(4, "ab", (1, 2), "bob"),
        judged(1, "abc", (1, 2, 3), UNKNOWN),
        judged(1, "abc", (3, 2, 1), UNKNOWN, occasion=1),
    ]
    (ann,) = self_agreement(said)
    assert (ann.annotator, ann.items, ann.same.value) == ("ann", 2, 0.5)
    assert ann.pairs == pytest.approx(5 / 6)
    # Clopper and Pearson's interval of 1 in 2 solves 1 − (1 − p)² = 0.025.
    assert ann.same.low == pytest.approx(1 - math.sqrt(0.975)) and ann.same.high == pytest.approx(
        math.sqrt(0.975)
    )
    assert share(0, 0).low == 0.0 and share(0, 0).high == 1.0


def test_a_side_that_wins_too_often_is_seen() -> None:
    left = [judged(n, "ab", (1, 2) if n < 80 else (2, 1)) for n in range(100)]
    tied = [judged(n, "ab", (1, 1)) for n in range(100, 120)]
    four = [judged(n, "abcd", tuple(np.roll((1, 2, 3, 4), n))) for n in range(200, 240)]
    two, other = position_bias([*left, *tied, *four])
    assert (two.answers, two.items, two.wins[0].value, two.expected) == (2, 100, 0.8, 0.5)
    # Tables of the exact binomial interval: 80 of 100 is 0.708 to 0.873.
    assert two.wins[0].low == pytest.approx(0.708, abs=1e-3)
    assert two.wins[0].high == pytest.approx(0.873, abs=1e-3)
    assert two.p_value < 1e-8 and not two.wins[0].holds(0.5)
    assert [win.value for win in other.wins] == [0.25] * 4 and other.p_value == 1.0
    assert position_bias(tied) == []


def strengths(board: Leaderboard) -> dict[str, float]:
    return {standing.model: standing.strength.value for standing in board.standings}


def test_plackett_luce_is_that_of_choix() -> None:
    rng = np.random.default_rng(5)
    rankings = [tuple(int(n) for n in rng.permutation(6)[:4]) for _ in range(80)]
    said = [
        judged(item, "".join("abcdef"[n] for n in ranking), (1, 2, 3, 4))
        for item, ranking in enumerate(rankings)
    ]
    choices = as_choices(said, "abcdef")
    found = fit(choices.offered, choices.chosen, choices.weights.sum(0), [0] * 6)
    assert found == pytest.approx(choix.ilsr_rankings(6, rankings), abs=1e-6)


def test_a_tie_is_half_a_win_each_and_unranked_losers_say_nothing() -> None:
    # 3 wins, 1 loss, 2 ties: 4 to 2, and the prior of 0.1 each.
    said = [judged(n, "ab", ranks) for n, ranks in enumerate([(1, 2)] * 3 + [(2, 1)] + [(1, 1)] * 2)]
    for method in METHODS:
        board = leaderboard(said, method, resamples=20)
        first, second = board.standings
        assert (first.model, first.wins, first.losses, first.ties) == ("a", 3, 1, 2)
        assert (second.wins, second.losses, second.ties) == (1, 3, 2)
        assert first.strength.value - second.strength.value == pytest.approx(math.log(4.1 / 2.1), abs=1e-6)
        assert first.elo.value + second.elo.value == pytest.approx(2000)
        assert first.elo.value - second.elo.value == pytest.approx(400 * math.log10(4.1 / 2.1), abs=1e-3)
    # All orders of the tied are equally likely: the same as each of them with an equal weight.
    tied = as_choices([judged(1, "abcd", (1, 2, 2, 2))], "abcd")
    orders = as_choices(
        [judged(n, "a" + "".join(order), (1, 2, 3, 4)) for n, order in enumerate(permutations("bcd"))], "abcd"
    )
    assert np.array_equal(tied.offered, orders.offered) and np.array_equal(tied.chosen, orders.chosen)
    assert tied.weights.sum(0) == pytest.approx(orders.weights.sum(0) / 6)
    best = as_choices([judged(1, "abcd", (1, 2, 2, 2), kind="best-only")], "abcd")
    assert best.weights.toarray().tolist() == [[1.0]] and best.offered.tolist() == [[1.0] * 4]
    only = [judged(n, "abc", (1, 2, 2), kind="best-only") for n in range(3)]
    assert {s.model: s.ties for s in leaderboard(only, resamples=5).standings} == {"a": 0, "b": 0, "c": 0}


@pytest.mark.parametrize("method", METHODS)
def test_models_that_were_never_compared_have_a_scale_each(method: Method) -> None:
    said = [judged(n, "ab", (1, 2) if n % 3 else (2, 1)) for n in range(12)]
    said += [judged(n, "cd", (1, 2) if n % 4 else (2, 1)) for n in range(12, 24)]
    said += [judged(99, "ee", (1, 2))]
    board = leaderboard(said, method, resamples=20)
    assert board.groups == (("a", "b"), ("c", "d")) and (board.items, board.judgements) == (24, 24)
    assert len(board.notices) == 1 and "never compared with each other" in board.notices[0]
    assert "a, b; c, d" in board.notices[0]
    found = strengths(board)
    assert found["a"] + found["b"] == pytest.approx(0) and found["c"] + found["d"] == pytest.approx(0)
    nothing = leaderboard([], method)
    assert nothing.standings == () and nothing.notices == ("nothing was ranked yet",)
    nameless = leaderboard([judged(1, "ee", (1, 2))], method)
    assert nameless.standings == () and nameless.notices == ("no answers of different models were compared",)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_never_lost_is_bounded_and_named(method: Method) -> None:
    said = [judged(n, "abc", (1, 2, 3) if n % 2 else (1, 3, 2)) for n in range(10)]
    board = leaderboard(said, method, resamples=20)
    assert [standing.model for standing in board.standings][0] == "a"
    assert all(math.isfinite(standing.strength.high) for standing in board.standings)
    assert len(board.notices) == 1 and "never won, or never lost" in board.notices[0]
    assert board == leaderboard(said, method, resamples=20)  # the seed decides


def test_a_population_of_annotators_is_recovered(home: object) -> None:
    """Three people rank by a Plackett–Luce model, through the store, and what made them up is found again:
    strengths within 99 % intervals, agreement, no side preferred, and repetitions."""
    truth = dict(zip("abcd", (0.9, 0.3, -0.3, -0.9), strict=True))
    rng = np.random.default_rng(11)
    with Database() as database:
        session = session_of(database, 120, repeated=0.1)
        for name in ("ann", "bob", "eve"):
            annotator = Annotator(database, session, name)
            with database.transaction():  # one wait for the disk instead of four hundred
                while (task := annotator.next()) is not None:
                    noise = rng.gumbel(size=4)
                    utility = [truth[a.model] + n for a, n in zip(task.answers, noise, strict=True)]
                    place = np.argsort(np.argsort(np.negative(utility))) + 1
                    annotator.commit(task, ranks=[int(rank) for rank in place])
        said = judgements(database, session)
    # All but those that would have come again at once, at the end.
    assert 3 * (120 + 10) <= len(said) <= 3 * (120 + 12)
    for method in METHODS:
        board = leaderboard(said, method, resamples=200, confidence=0.99)
        assert board.notices == () and [s.model for s in board.standings] == list("abcd")
        for standing in board.standings:
            assert standing.strength.holds(truth[standing.model]), standing
            assert 0.02 < standing.strength.error < 0.2
    # The expected alphas: for two people who draw from one model, α = 1 − D_o/D_e with D_o the chance that
    # two draws differ, which is Σ 2p(1 − p) over pairs, and D_e that of sides that are drawn, 1/2.
    p = [1 / (1 + math.exp(truth[b] - truth[a])) for a, b in ("ab", "ac", "ad", "bc", "bd", "cd")]
    found = agreement(said, resamples=200)
    assert (
        found.annotators == 3 and found.items == 120 and found.pairs is not None and found.ranks is not None
    )
    alpha = 1 - float(np.mean([2 * q * (1 - q) for q in p])) / 0.5
    assert abs(found.pairs.value - alpha) < 3 * found.pairs.error
    assert found.ranks.low < found.ranks.value < found.ranks.high
    # With oneself as with others: each decision is a new draw.
    agreed = float(np.mean([q * q + (1 - q) ** 2 for q in p]))
    own = self_agreement(said)
    count = sum(one.items for one in own)
    assert [one.annotator for one in own] == ["ann", "bob", "eve"] and count == len(said) - 3 * 120
    # Six pairs of an item depend on each other, so at worst there is one independent draw of each item.
    mean = sum(one.pairs * one.items for one in own) / count
    assert abs(mean - agreed) < 4 * math.sqrt(agreed * (1 - agreed) / count)
    (bias,) = position_bias(said)
    assert bias.answers == 4 and bias.p_value > 0.001


def test_what_is_most_open_is_ranked_next() -> None:
    assert uncertainty([0.0, 0.0]) == 1.0 and uncertainty([1.0]) == 0.0
    p = 1 / (1 + math.e)
    assert uncertainty([0.0, 1.0]) == pytest.approx(-p * math.log2(p) - (1 - p) * math.log2(1 - p))
    assert uncertainty([0.0, 1e6]) == 0.0 and uncertainty([0.0, math.inf]) == 0.0
    # An error makes the same difference less sure, in the limit a coin.
    assert uncertainty([(0.0, 0.0), (3.0, 0.0)]) == uncertainty([0.0, 3.0])
    rising = [uncertainty([(0.0, error), (3.0, error)]) for error in (0.0, 1.0, 5.0, 1e9)]
    assert rising == sorted(rising) and rising[-1] == pytest.approx(1.0)
    scores = {1: [9.0, -9.0], 2: [0.1, 0.0], 3: [2.0, 0.0], 4: [1.0], 5: [2.0, 2.0, -9.0], 7: [0.1, 0.0]}
    assert by_uncertainty(scores) == [2, 7, 3, 5, 1, 4]
    assert by_uncertainty({}) == []
