"""A transcript of an evaluation as a column, so that it is looked at like any other answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.tui.playground.column import Column, chain_of_outcome
from workbench.tui.playground.column_record import column_of
from workbench.tui.playground.setup import ModelChoice, Setup
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line

RIGHT, WRONG, NEITHER = "✓", "✗", "·"


def column_from(transcript: Mapping[str, Any], technique: str = "", model: str = "") -> Column:
    """All that was sent and came back for one item. What is damaged in it is left out."""
    trace = [
        step
        for step in transcript.get("trace") or ()
        if isinstance(step, Mapping) and isinstance(step.get("content"), Mapping)
    ]
    steps = [
        [
            step.get("kind"),
            step.get("title") or "",
            step.get("content") or {},
            step.get("chain"),
            step.get("seconds") or 0.0,
        ]
        for step in trace
    ]
    samples = [sample for sample in transcript.get("samples") or () if isinstance(sample, Mapping)]
    chains = _asked_chains(trace)
    shown = 0
    for number, sample in enumerate(samples):
        details = sample.get("details") or {}
        chain = chain_of_outcome(number, details)
        shown = chain if number == 0 else shown
        chains[chain] = {
            "number": chain,
            "log": [[str(sample.get("text") or ""), ""]],
            "answer": sample.get("answer"),
            "finish": details.get("finish_reason") or "",
        }
    cost = transcript.get("cost") or {}
    setup = Setup(model=ModelChoice("local", model) if model else None)
    record = {
        "setup": setup.as_json(),
        "state": "done",
        "technique": technique,
        "chains": list(chains.values()),
        "chain": shown,
        "steps": steps,
        "tokens": cost.get("completion_tokens"),
    }
    return column_of(str(transcript.get("question") or ""), record)


def _asked_chains(trace: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The texts of all chains, those too that only voted."""
    answers = {
        step.get("chain"): step["content"].get("answer") for step in trace if step.get("kind") == "extraction"
    }
    chains: dict[int, dict[str, Any]] = {}
    for step in trace:
        if step.get("kind") != "request":
            continue
        for number, completion in enumerate(step["content"].get("completions") or (), step.get("chain") or 0):
            fresh: dict[str, Any] = {"number": number, "log": [], "answer": answers.get(number)}
            chain = chains.setdefault(number, fresh)
            chain["log"].append([str(completion.get("text") or ""), ""])
            chain["finish"] = completion.get("finish_reason") or ""
    return dict(sorted(chains.items()))


def mark(transcript: Mapping[str, Any]) -> tuple[str, str]:
    """Whether it was right, as a sign and its role."""
    score = transcript.get("score")
    if not isinstance(score, (int, float)):
        return NEITHER, "dim"
    return (RIGHT, "good") if score == 1 else (WRONG, "bad") if score == 0 else (f"{score:.1f}"[-2:], "warn")


def title_line(transcript: Mapping[str, Any]) -> Line:
    """One item in a line of the list."""
    sign, role = mark(transcript)
    question = " ".join(str(transcript.get("question") or "").split())
    return (
        (f"{sign:>2} ", role),
        (f"{transcript.get('row', 0):>6}  ", "dim"),
        (reveal_control(question), ""),
    )


def about_line(transcript: Mapping[str, Any]) -> Line:
    """What it was compared with, and where it stands in the data."""
    sign, role = mark(transcript)
    samples = transcript.get("samples") or ()
    answers = [sample.get("answer") for sample in samples if isinstance(sample, Mapping)]
    said = ", ".join("–" if answer is None else str(answer) for answer in answers)
    wanted = ", ".join(map(str, transcript.get("reference") or ())) or "nothing to compare with"
    cost = transcript.get("cost") or {}
    return (
        (f" {sign} ", role),
        (reveal_control(f"answered {said}"), "title"),
        (reveal_control(f" · wanted {wanted}"), ""),
        (reveal_control(f" · {transcript.get('where') or ''}"), "dim"),
        (f" · {cost.get('seconds') or 0:.1f} s", "dim"),
    )
