"""Two evaluations over the same items: the difference, how sure it is, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import DataError
from workbench.prompting.evaluation.intervals import of_gain, of_mean
from workbench.prompting.evaluation.results import Result
from workbench.prompting.evaluation.setup import flat


@dataclass(frozen=True)
class Pair:
    """One item in both evaluations, with its scores."""

    id: str
    row: int
    first: float
    second: float

    @property
    def gain(self) -> float:
        """What the second adds."""
        return self.second - self.first


def pairs_of(first: Sequence[Result], second: Sequence[Result]) -> list[Pair]:
    """The items that are in both: of the same id, with the same row behind it, and scored."""
    others = {(result.id, result.digest): result for result in second}
    found = []
    for result in first:
        other = others.get((result.id, result.digest))
        if other is not None and result.score is not None and other.score is not None:
            found.append(Pair(result.id, result.row, result.score, other.score))
    return found


def compare(first: Sequence[Result], second: Sequence[Result], seed: int = 0) -> dict[str, Any]:
    """The second against the first, over the items that are in both. Raises `DataError` where none is.

    `difference` with a bootstrap interval that resamples items, so that both are asked the same ones;
    `mcnemar`, where each has one answer an item: the exact binomial test (McNemar 1947) on the items that
    only one got right.
    """
    pairs = pairs_of(first, second)
    if not pairs:
        raise DataError(
            "the two evaluations have no scored item in common",
            hint="compare evaluations over the same file, with reference answers",
        )
    gains = [pair.gain for pair in pairs]
    binary = all(score in (0.0, 1.0) for pair in pairs for score in (pair.first, pair.second))
    interval = of_gain([pair.first for pair in pairs], [pair.second for pair in pairs], seed)
    return {
        "items": len(pairs),
        "only_in_first": len(first) - len(pairs),
        "only_in_second": len(second) - len(pairs),
        "first": _accuracy([pair.first for pair in pairs], seed),
        "second": _accuracy([pair.second for pair in pairs], seed),
        "difference": sum(gains) / len(gains),
        "interval": interval.as_json() if interval else None,
        "table": _table(pairs),
        "mcnemar": mcnemar(pairs) if binary else None,
        "differing": [
            {"id": pair.id, "row": pair.row, "first": pair.first, "second": pair.second}
            for pair in pairs
            if pair.gain
        ],
    }


def warnings_of(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What to bear in mind when two evaluations with these settings are compared."""
    told = _scored_otherwise(first, second)
    before, now = (settings.get("collections") or {} for settings in (first, second))
    for name in before:
        if name in now and before[name] != now[name]:
            told.append(
                f"the documents in the collection “{name}” were others in the second than in the first"
            )
    return told


def scale_of(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[int, int] | None:
    """The scale that judges scored both evaluations on, None where they are not both judged on one."""
    scales = [(settings.get("judge") or {}).get("scale") for settings in (first, second)]
    return (int(scales[0][0]), int(scales[0][1])) if scales[0] and scales[0] == scales[1] else None


def _scored_otherwise(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    metrics = [str(settings.get("metric", "")) for settings in (first, second)]
    if metrics[0] != metrics[1]:
        return [f"the first is scored by the metric {metrics[0]}, the second by {metrics[1]}"]
    before, now = (dict(flat(settings.get("judge") or {})) for settings in (first, second))
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    return [f"they were judged otherwise: other {', '.join(changed)}"] if changed else []


def mcnemar(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The exact two-sided test that either is as likely to be the one that is right alone."""
    from scipy.stats import binomtest

    gained = sum(pair.gain > 0 for pair in pairs)
    lost = sum(pair.gain < 0 for pair in pairs)
    p = float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p": p}


def _accuracy(scores: Sequence[float], seed: int) -> dict[str, Any]:
    interval = of_mean(scores, seed)
    return {"accuracy": sum(scores) / len(scores), "interval": interval.as_json() if interval else None}


def _table(pairs: Sequence[Pair]) -> dict[str, int]:
    """How often both, either and neither did better; right in both counts only whole scores."""
    return {
        "both_right": sum(pair.first == pair.second == 1 for pair in pairs),
        "only_second_better": sum(pair.gain > 0 for pair in pairs),
        "only_first_better": sum(pair.gain < 0 for pair in pairs),
        "both_wrong": sum(pair.first == pair.second == 0 for pair in pairs),
        "both_in_part": sum(pair.first == pair.second and 0 < pair.first < 1 for pair in pairs),
    }
