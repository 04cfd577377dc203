"""What all rows come to: how full they are, what was left out and why, how long the documents are."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from workbench.tui.text import meter, reveal_control
from workbench.tui.widgets.text_lines import Line, plain

BAR = 11
WIDTH = 38
"""Cells of a line of words."""

REPORT = {
    "rows": "rows",
    "tokens": "tokens",
    "padding": "padding",
    "efficiency": "filled",
    "unsorted_efficiency": "filled, unsorted",
    "cropped": "cropped",
}


def totals_lines(result: dict[str, Any], symbols: str = "braille") -> list[Line]:
    """The totals of an inspection, in lines narrow enough for a column."""
    report, data = result.get("report") or {}, result.get("data") or {}
    lines: list[Line] = [plain("rows of an epoch", "title")]
    for name, words in REPORT.items():
        if name in report:
            value = report[name]
            lines.append(_pair(words, f"{value:.2%}" if "efficiency" in name else f"{value:,}"))
    lines += [plain(f"  {line}") for line in wrap(result.get("form") or "", WIDTH)]
    if "bytes_per_token" in data:
        lines.append(_pair("bytes a token", f"{data['bytes_per_token']:.2f}"))
    lines += _counted("left out or changed", result.get("left_out") or {}, "")
    lines += _counted("tokens of this row", result.get("states") or {}, symbols)
    lines += _counted("labels", result.get("labels") or {}, symbols)
    return lines + _histogram(result.get("lengths") or [], result.get("length_summary") or {}, symbols)


def _pair(name: str, value: str) -> Line:
    return ((f"  {reveal_control(name):<16}", "key"), (f"{value:>11}", ""))


def _counted(title: str, counts: dict[str, int], symbols: str) -> list[Line]:
    shown = {name: count for name, count in counts.items() if count}
    if not shown:
        return []
    lines: list[Line] = [plain(""), plain(title, "title")]
    for name, count in list(shown.items())[:40]:
        lines.append((*_pair(name, f"{count:,}"), (_bar(count, max(shown.values()), symbols), "")))
    return lines


def _histogram(bins: list[dict[str, int]], summary: dict[str, Any], symbols: str) -> list[Line]:
    if not bins:
        return []
    most = max(entry["count"] for entry in bins)
    middle = f"median {summary['median']:,.0f}, longest {summary['max']:,}"
    lines: list[Line] = [plain(""), plain("documents by length in tokens", "title"), plain(f"  {middle}")]
    for entry in bins:
        span = f"{entry['from']:,}–{entry['to']:,}"
        lines.append((*_pair(span, f"{entry['count']:,}"), (_bar(entry["count"], most, symbols), "")))
    return lines


def _bar(count: int, most: int, symbols: str) -> str:
    return f" {meter(count / max(most, 1), BAR, symbols)}" if symbols else ""
