"""The vote: who wins, when nothing can change it any more, and that weights are numerically safe."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from scipy.stats import beta

from workbench.prompting.vote import Ballot, Vote

ANSWERS = ("a", "b", None)


def held(ballots: dict[int, tuple[str | None, float | None]], total: int, weighted: bool = False) -> Vote:
    vote = Vote(total, weighted)
    for chain, (answer, weight) in ballots.items():
        vote.cast(chain, Ballot(answer, answer or "", weight))
    return vote


def winner(vote: Vote) -> str | None:
    standing = vote.standing()
    return standing[0].key if standing else None


def of(*answers: str | None) -> dict[int, tuple[str | None, float | None]]:
    return {chain: (answer, None) for chain, answer in enumerate(answers)}


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
def test_a_vote_is_decided_exactly_when_no_further_chain_can_change_the_winner(total: int) -> None:
    for finished in range(total + 1):
        for order in itertools.combinations(range(total), finished):
            pending = [chain for chain in range(total) if chain not in order]
            for answers in itertools.product(ANSWERS, repeat=finished):
                ballots: dict[int, tuple[str | None, float | None]] = {
                    chain: (answer, None) for chain, answer in zip(order, answers, strict=True)
                }
                endings = {
                    winner(
                        held(
                            {**ballots, **dict(zip(pending, ((end, None) for end in rest), strict=True))},
                            total,
                        )
                    )
                    for rest in itertools.product((*ANSWERS, "new"), repeat=len(pending))
                }
                vote = held(ballots, total)
                assert vote.decided() is (len(endings) == 1), (ballots, endings)
                if vote.decided():
                    assert endings == {winner(vote)}


def test_a_weighted_vote_that_is_decided_stays_so() -> None:
    weights = (0.0, math.log(0.5), math.log(0.05))
    ballots = list(itertools.product(("a", "b"), weights))
    early = 0
    for sequence in itertools.product(ballots, repeat=4):
        whole = winner(held(dict(enumerate(sequence)), 4, weighted=True))
        for finished in range(4):
            vote = held(dict(enumerate(sequence[:finished])), 4, weighted=True)
            if vote.decided():
                early += 1
                assert winner(vote) == whole
    assert early > 100


@pytest.mark.parametrize("ballots", [("a",), ("a", "b"), ("a", "a", "b"), ("a", "b", "a", "a"), (None, None)])
def test_the_fewest_further_chains_could_decide_and_one_less_could_not(
    ballots: tuple[str | None, ...],
) -> None:
    total = 9
    vote = held(of(*ballots), total)
    leader = winner(vote) or "a"
    for more in range(1, vote.rest + 1):
        then = held(of(*ballots, *[leader] * more), total)
        assert then.decided() is (more >= vote.needed()), more


def test_ties_go_to_the_earliest_chain_whatever_came_first() -> None:
    vote = Vote(4)
    for chain, answer in [(3, "b"), (2, "a"), (0, "b"), (1, "a")]:
        vote.cast(chain, Ballot(answer, answer))
    assert winner(vote) == "b" and vote.tied()
    assert not held(of("a", "a", "b"), 3).tied()


def test_weights_too_small_for_floating_point_still_count() -> None:
    ballots: dict[int, tuple[str | None, float | None]] = {
        0: ("a", -90_000.0),
        1: ("b", -90_001.0),
        2: ("b", -90_001.0),
    }
    vote = held(ballots, 3, weighted=True)
    assert winner(vote) == "a"
    shares = [candidate["share"] for candidate in vote.record()["votes"]]
    assert shares == pytest.approx([1 / (1 + 2 / math.e), 2 / math.e / (1 + 2 / math.e)])
    ballots[2] = ("b", -90_000.5)
    assert winner(held(ballots, 3, weighted=True)) == ("b" if math.exp(-1) + math.exp(-0.5) > 1 else "a")
    assert not held(ballots, 4, weighted=True).decided()


def test_chains_count_alike_where_a_weight_is_missing() -> None:
    vote = held({0: ("a", -0.1), 1: ("b", -9.0), 2: ("b", None)}, 3, weighted=True)
    assert winner(vote) == "b" and not vote.weighted


@pytest.mark.parametrize(("ahead", "behind"), [(0, 0), (1, 0), (5, 0), (7, 3), (12, 11), (300, 250)])
def test_the_confidence_is_that_of_the_beta_posterior(ahead: int, behind: int) -> None:
    vote = held(of(*["a"] * ahead, *["b"] * behind), 1000)
    assert vote.confidence() == pytest.approx(beta.sf(0.5, ahead + 1, behind + 1), rel=1e-9)


def test_the_record_is_plain_and_complete() -> None:
    vote = Vote(6)
    for chain, (key, label) in enumerate([("24", "24"), ("7", "7"), ("24", "24.0"), (None, "")]):
        vote.cast(chain, Ballot(key, label))
    record = vote.record()
    assert record["votes"] == [
        {"answer": "24", "count": 2, "share": pytest.approx(2 / 3)},
        {"answer": "7", "count": 1, "share": pytest.approx(1 / 3)},
    ]
    assert (record["agreement"], record["finished"], record["of"], record["without_answer"]) == (0.5, 4, 6, 1)
    assert (record["decided"], record["tied"], record["weighted"]) == (False, False, False)
    json.dumps(record)
