"""A vote of many chains on their answer: who leads, by how much, and whether that can still change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple


class Ballot(NamedTuple):
    """What a chain says: `key` is None where it has no answer, `log_weight` at most 0, None if unknown."""

    key: str | None
    label: str
    log_weight: float | None = None


@dataclass(frozen=True)
class Candidate:
    """An answer with its votes. `score` is their number, or their weights' sum on a scale all share; `first`
    is the first chain that gave it."""

    key: str
    label: str
    count: int
    score: float
    first: int


class Vote:
    """The votes of up to `total` chains, numbered from 0, in whatever order they come in.

    Majority, or weighted by probability (Wang et al. 2022, table 1); chains count alike where a
    weight is not known. The answer with the highest score wins; of equal ones that of the earliest chain.
    """

    def __init__(self, total: int, weighted: bool = False) -> None:
        self.total = total
        self._wants_weights = weighted
        self.ballots: dict[int, Ballot] = {}

    def cast(self, chain: int, ballot: Ballot) -> None:
        """Count a chain's answer."""
        self.ballots[chain] = ballot

    @property
    def rest(self) -> int:
        """Chains that have not voted."""
        return self.total - len(self.ballots)

    @property
    def weighted(self) -> bool:
        """Whether chains count by their weights."""
        known = (ballot.log_weight is not None for ballot in self.ballots.values())
        return self._wants_weights and all(known)

    def standing(self) -> list[Candidate]:
        """All answers, the leading one first."""
        weights = self._log_weights()
        # Relative to the largest, so that sums of tiny probabilities do not vanish.
        scale = max(weights.values(), default=0.0)
        chains: dict[str, list[int]] = {}
        for chain, ballot in sorted(self.ballots.items()):
            if ballot.key is not None:
                chains.setdefault(ballot.key, []).append(chain)
        found = [
            Candidate(
                key,
                self.ballots[numbers[0]].label,
                len(numbers),
                math.fsum(math.exp(weights[number] - scale) for number in numbers),
                numbers[0],
            )
            for key, numbers in chains.items()
        ]
        return sorted(found, key=lambda candidate: (-candidate.score, candidate.first))

    def decided(self) -> bool:
        """Whether the leader wins whatever the remaining chains say."""
        if self.rest == 0:
            return True
        standing = self.standing()
        if not standing:
            return False
        leader, *others = standing
        # A chain adds at most a probability of 1, on the scale of the scores.
        gain = self.rest * math.exp(min(700.0, -max(self._log_weights().values())))
        pending = next(chain for chain in range(self.total) if chain not in self.ballots)
        rivals = [(other.score + gain, min(other.first, pending)) for other in others] + [(gain, pending)]
        return all((-leader.score, leader.first) < (-score, first) for score, first in rivals)

    def tied(self) -> bool:
        """Whether two answers lead with the same score."""
        standing = self.standing()
        return len(standing) > 1 and standing[0].score == standing[1].score

    def needed(self) -> int:
        """The fewest further chains with which the leader's majority could be decided."""
        counts = [candidate.count for candidate in self.standing()] + [0, 0]
        return min(self.rest, max(1, (counts[1] + self.rest - counts[0]) // 2 + 1))

    def confidence(self) -> float:
        """The posterior probability that the leader is likelier than the runner-up, from their counts.

        Under a uniform prior on their ratio, as in Aggarwal et al. 2023: one minus the
        distribution function of Beta(a + 1, b + 1) at 1/2, which for whole numbers is a binomial sum.
        """
        standing = self.standing()
        ahead, behind = [candidate.count for candidate in standing[:2]] + [0] * (2 - len(standing[:2]))
        trials = ahead + behind + 1
        return float(sum(math.comb(trials, wins) for wins in range(ahead + 1)) / 2**trials)

    def record(self) -> dict[str, Any]:
        """The histogram as plain JSON. `agreement` is the share of finished chains that gave the leading
        answer, `share` an answer's part of all votes."""
        standing = self.standing()
        total = math.fsum(candidate.score for candidate in standing) or 1.0
        finished = len(self.ballots)
        return {
            "votes": [
                {"answer": candidate.label, "count": candidate.count, "share": candidate.score / total}
                for candidate in standing
            ],
            "agreement": standing[0].count / finished if standing else 0.0,
            "finished": finished,
            "of": self.total,
            "without_answer": sum(ballot.key is None for ballot in self.ballots.values()),
            "weighted": self.weighted,
            "decided": self.decided(),
            "tied": self.tied(),
        }

    def _log_weights(self) -> dict[int, float]:
        """The logarithm of each chain's weight."""
        weighted = self.weighted
        return {
            chain: ballot.log_weight if weighted and ballot.log_weight is not None else 0.0
            for chain, ballot in self.ballots.items()
        }
