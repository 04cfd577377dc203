"""One item's result: what is written of it, and what of that the numbers are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.prompting.evaluation.items import Item
from workbench.prompting.evaluation.references import is_right
from workbench.prompting.evaluation.setup import Setup
from workbench.prompting.judging.settings import JudgeSettings
from workbench.prompting.judging.verdict import Verdict
from workbench.prompting.technique import Outcome, Step


@dataclass(frozen=True)
class Cost:
    """What an item cost: tokens read, of which cached, and written, in so many requests and seconds.

    `uncounted` are the requests whose tokens no server told: those that a decided vote cancelled, and all
    of a server that does not count.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    uncounted: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Judged:
    """What came of judging an item's samples: verdicts, those that were malformed, and the judge's tokens."""

    verdicts: int = 0
    malformed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Result:
    """What the numbers need of a transcript. `scores` has one for each sample that could be scored: none
    where there is neither reference nor verdict; `answered` counts the samples with an answer."""

    id: str
    row: int
    digest: str
    scores: tuple[float, ...]
    samples: int
    answered: int
    cost: Cost
    agreement: float | None
    judged: Judged | None = None

    @property
    def score(self) -> float | None:
        """The mean over the samples."""
        return sum(self.scores) / len(self.scores) if self.scores else None


def transcript(
    item: Item,
    setup: Setup,
    question: str,
    outcomes: Sequence[Outcome],
    steps: Sequence[Step],
    seconds: float,
    verdicts: Sequence[Verdict] = (),
) -> dict[str, Any]:
    """All of an item as plain JSON; `workbench.store.transcripts` says what is in it.

    `verdicts` are a judge's, one an outcome, where the metric is `judge`.
    """
    if setup.judge is not None:
        samples = [_judged(*pair, setup.judge) for pair in zip(outcomes, verdicts, strict=True)]
    else:
        samples = [_sample(outcome, _correct(outcome, item, setup)) for outcome in outcomes]
    scores = [float(sample["correct"]) for sample in samples if sample["correct"] is not None]
    return {
        "id": item.id,
        "row": item.row,
        "where": item.where,
        "digest": item.digest,
        "question": question,
        "reference": list(item.references),
        "score": sum(scores) / len(scores) if scores else None,
        "cost": asdict(cost_of(steps, seconds)),
        "samples": samples,
        "trace": [asdict(step) for step in steps],
    }


def result_of(record: Mapping[str, Any]) -> Result | None:
    """What the numbers need of a transcript; None where it is damaged."""
    try:
        samples = record["samples"]
        agreements = [
            float(sample["details"]["agreement"]) for sample in samples if "agreement" in sample["details"]
        ]
        return Result(
            id=str(record["id"]),
            row=int(record["row"]),
            digest=str(record["digest"]),
            scores=tuple(float(sample["correct"]) for sample in samples if sample["correct"] is not None),
            samples=len(samples),
            answered=sum(sample["answer"] is not None for sample in samples),
            cost=Cost(**record["cost"]),
            agreement=sum(agreements) / len(agreements) if agreements else None,
            judged=_judging_of(samples),
        )
    except (KeyError, TypeError, ValueError):
        return None


def cost_of(steps: Iterable[Step], seconds: float) -> Cost:
    """What all requests of a trace cost."""
    requests = [step.content for step in steps if step.kind == "request"]
    read, written, cached = (
        sum(int(content[name]) for content in requests)
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
    )
    told = sum(content["prompt_tokens"] + content["completion_tokens"] > 0 for content in requests)
    return Cost(read, written, cached, len(requests), len(requests) - told, seconds)


def _judging_of(samples: Sequence[Mapping[str, Any]]) -> Judged | None:
    verdicts = [sample["verdict"] for sample in samples if "verdict" in sample]
    if not verdicts:
        return None
    read, written = (
        sum(int(verdict["usage"][name]) for verdict in verdicts)
        for name in ("prompt_tokens", "completion_tokens")
    )
    malformed = sum(verdict["score"] is None for verdict in verdicts)
    return Judged(len(verdicts) - malformed, malformed, read, written)


def _judged(outcome: Outcome, verdict: Verdict, judge: JudgeSettings) -> dict[str, Any]:
    share = None if verdict.score is None else judge.share(verdict.score)
    return {**_sample(outcome, share), "verdict": asdict(verdict)}


def _sample(outcome: Outcome, correct: bool | float | None) -> dict[str, Any]:
    return {
        "text": outcome.text,
        "answer": outcome.answer,
        "correct": correct,
        "logprob": outcome.logprob,
        "details": outcome.details,
    }


def _correct(outcome: Outcome, item: Item, setup: Setup) -> bool | None:
    if not item.references:
        return None
    if setup.metric == "answer":
        assert setup.compared_as is not None
        return is_right(outcome.answer, item.references, setup.compared_as)
    text = outcome.text.strip()
    if setup.metric == "exact":
        return text in item.references
    folded = " ".join(text.casefold().split())
    return any(" ".join(reference.casefold().split()) in folded for reference in item.references)
