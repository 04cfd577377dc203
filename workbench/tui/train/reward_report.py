"""What a person sees of a reward model's evaluation: how often it is right, how sure it is, how it scores."""

from __future__ import annotations

from typing import Any

from workbench.tui.text import meter
from workbench.tui.widgets.text_lines import Line, plain

BAR = 30


def report_lines(report: dict[str, Any], symbols: str) -> list[Line]:
    """The report of `workbench.objectives.reward.report` as lines. Raises `KeyError` for another shape."""
    if not report["pairs"]:
        return [plain("No held-out prompt has two answers that were ranked apart.", "dim")]
    lines = [
        _accuracy("right", report["accuracy"], report["accuracy_interval"], symbols, "good"),
        _accuracy("the longer", report["longer_accuracy"], report["longer_interval"], symbols, "dim"),
        (("chance     ", "key"), (f"{meter(report['chance'], BAR, symbols)} {report['chance']:6.1%}", "dim")),
        plain(
            f"Over {report['pairs']:,} pairs of {report['prompts']:,} prompts that were not trained on; the "
            "intervals are of 95 in 100 drawings of prompts.",
            "dim",
        ),
        plain(""),
        (("calibration", "title"), (f"  expected error {report['calibration_error']:.1%}", "")),
        plain("claimed       pairs  sure    right", "key"),
    ]
    for each in report["calibration"]:
        right = meter(each["accuracy"], BAR, symbols)
        lines.append(
            plain(
                f"{each['low']:4.0%} to {each['high']:4.0%} {each['pairs']:6,}  {each['confidence']:4.0%}  "
                f"{each['accuracy']:6.1%} {right}"
            )
        )
    return [*lines, plain(""), *_histogram(report["histogram"], symbols)]


def _accuracy(name: str, value: float, interval: list[float], symbols: str, role: str) -> Line:
    low, high = interval
    return (
        (f"{name:<11}", "key"),
        (meter(value, BAR, symbols), role),
        (f" {value:6.1%}  {low:.1%} to {high:.1%}", ""),
    )


def _histogram(found: dict[str, Any], symbols: str) -> list[Line]:
    lines: list[Line] = [
        (("scores", "title"), ("  of all answers; those ranked best, worst", "dim")),
        plain("from       answers", "key"),
    ]
    most = max(*found["all"], 1)
    for edge, number, best, worst in zip(
        found["edges"], found["all"], found["best"], found["worst"], strict=False
    ):
        bar = meter(number / most, BAR, symbols)
        lines.append(
            (
                (f"{edge:+8.2f}  {number:7,} ", ""),
                (bar, "key"),
                (f" {best:5,}", "good"),
                (f" {worst:5,}", "bad"),
            )
        )
    return lines
