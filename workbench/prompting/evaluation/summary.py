"""The numbers of an evaluation, from its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from workbench.prompting.evaluation import intervals
from workbench.prompting.evaluation.results import Cost, Judged, Result, result_of
from workbench.store.evaluations import Evaluation
from workbench.store.json_lines import parsed, whole_lines


def results_in(evaluation: Evaluation) -> list[Result]:
    """The results so far, in the order of the data. Raises `StorageError`."""
    found = {}
    for _, line in whole_lines(evaluation.results_path):
        result = result_of(parsed(line) or {})
        if result is not None:
            found[result.id] = result
    return sorted(found.values(), key=lambda result: result.row)


def failed_in(evaluation: Evaluation, done: Iterable[str]) -> dict[str, dict[str, str]]:
    """The last error of each item that failed and was not done since, by its id."""
    errors = {}
    for _, line in whole_lines(evaluation.failures_path):
        record = parsed(line)
        if record is not None and isinstance(record.get("error"), dict):
            errors[str(record.get("id"))] = record["error"]
    for id in done:
        errors.pop(id, None)
    return errors


def tally(
    results: Sequence[Result], items: int, failed: int, judge: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The plain numbers. Means are over the items that are done; accuracy over those with a reference.

    Whatever is added up goes in the order of the data, so that the sums are the same however they came.
    With `judge`, the settings of one, there is no accuracy but `judge`, see `judged`.
    """
    scores = [result.score for result in results if result.score is not None]
    samples = sum(result.samples for result in results)
    several = judge is None and any(result.samples > 1 for result in results)
    agreements = [result.agreement for result in results if result.agreement is not None]
    return {
        "items": items,
        "done": len(results),
        "failed": failed,
        "scored": len(scores),
        "right": sum(score == 1 for score in scores) if judge is None else None,
        "accuracy": _mean(scores) if judge is None else None,
        "right_in_any": _mean([float(max(result.scores)) for result in results if result.scores])
        if several
        else None,
        "samples": samples,
        "without_answer": samples - sum(result.answered for result in results),
        "agreement": _mean(agreements),
        "judge": None if judge is None else judged(results, judge),
        "cost": {
            name: {
                "mean": _mean([getattr(result.cost, name) for result in results]),
                "total": sum(getattr(result.cost, name) for result in results),
            }
            for name in (item.name for item in fields(Cost))
        },
    }


def judged(results: Sequence[Result], judge: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge said: its `score` on its `scale`, the mean over items of their mean verdict; how many
    `verdicts` that is, how many more were `malformed` and count in nothing else; what it cost."""
    low, high = judge["scale"]
    mean = _mean([result.score for result in results if result.score is not None])
    told = [result.judged for result in results if result.judged is not None]
    counts = {
        name: sum(getattr(one, name) for one in told) for name in (item.name for item in fields(Judged))
    }
    score = None if mean is None else low + mean * (high - low)
    model = dict(judge.get("model") or {}).get("name", "")
    return {"model": model, "scale": [low, high], "score": score, "interval": None, **counts}


def summarise(
    results: Sequence[Result],
    items: int,
    failed: int,
    judge: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers with the interval of the accuracy, or of the judge's mean score on its scale."""
    scores = [result.score for result in results if result.score is not None]
    told = tally(results, items, failed, judge)
    if judge is None:
        interval = intervals.of_mean(scores, seed) if scores else None
        return {**told, "interval": interval.as_json() if interval else None}
    low, high = judge["scale"]
    # A scale of two scores is right or wrong; on a longer one, few extremes tell nothing exact.
    found = intervals.of_mean(scores, seed) if high - low == 1 else intervals.bootstrapped(scores, seed)
    if found is not None:
        ends = {name: low + getattr(found, name) * (high - low) for name in ("low", "high")}
        told["judge"]["interval"] = replace(found, **ends).as_json()
    return {**told, "interval": None}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
