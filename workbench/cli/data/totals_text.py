"""What all rows of a side come to, and how long its documents are."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from workbench.cli import render

BAR = 30
WIDTH = 100
EPOCH = {"rows": "rows", "tokens": "tokens", "padding": "padding", "cropped": "cropped"}


def totals_text(result: dict[str, Any]) -> str:
    """Totals of the page, of an epoch and of the data, labels, and a histogram of lengths."""
    report, data = result["report"], result["data"]
    states = ", ".join(f"{count:,} {state}" for state, count in result["states"].items())
    items = [("these rows", states), ("tokens in a row", f"{result['length']:,} at most")]
    items += [(words, f"{report[name]:,}") for name, words in EPOCH.items() if name in report]
    if "efficiency" in report:
        items.append(("places used", f"{report['efficiency']:.2%}"))
    items.append(("bytes per token", render.number(data.get("bytes_per_token"))))
    items.append(
        ("held out", f"{data['eval_documents']:,} of {data['documents'] + data['eval_documents']:,}")
    )
    items += [(f"left out: {reason}", f"{count:,}") for reason, count in result["left_out"].items()]
    parts = [f"{render.style('all rows of an epoch', 'bold')}\n{render.pairs(items, '  ')}"]
    if result["form"]:
        parts.append(fill(result["form"], min(render.columns(), WIDTH)))
    if result["labels"]:
        parts.append(_bars("labels of the training records", list(result["labels"].items())))
    bins = [(f"{entry['from']:,}-{entry['to']:,}", entry["count"]) for entry in result["lengths"]]
    if bins:
        summary = result["length_summary"]
        told = (
            f"length in tokens of {summary['count']:,}: {summary['min']:,} to {summary['max']:,}, "
            f"median {summary['median']:,.0f}, mean {summary['mean']:,.1f}"
        )
        parts.append(_bars(told, bins))
    return "\n\n".join(parts)


def _bars(title: str, entries: list[tuple[str, int]]) -> str:
    most = max((count for _, count in entries), default=0) or 1
    symbol = "\u2588" if render.has_unicode() else "#"
    wide = max(len(f"{count:,}") for _, count in entries)
    items = []
    for name, count in entries:
        bar = symbol * round(count / most * BAR) or ("." if count else "")
        items.append((render.literal(name), f"{count:>{wide},} {bar}".rstrip()))
    return f"{render.style(title, 'bold')}\n{render.pairs(items, '  ')}"
