"""The numbers of evaluations as text for people."""

from __future__ import annotations

from typing import Any

from workbench.cli import render
from workbench.units import NONE

COSTS = (
    ("tokens read", "prompt_tokens"),
    ("of which cached", "cached_tokens"),
    ("tokens written", "completion_tokens"),
    ("requests", "requests"),
    ("seconds", "seconds"),
)


def page(told: dict[str, Any]) -> str:
    """A summary, with the name of its evaluation."""
    items = [("evaluation", render.literal(told["name"])), ("state", _state(told))]
    items.append(("rows", f"{told['done']:,} of {told['items']:,}"))
    if told["failed"]:
        items.append(("failed", f"{told['failed']:,}, not in the numbers; the same command tries them again"))
    if told["scored"]:
        items.append(("accuracy", accuracy(told["accuracy"], told["interval"])))
    if told["right_in_any"] is not None:
        items.append(("right at least once", f"{told['right_in_any']:.1%}"))
    items.append(("without an answer", f"{told['without_answer']:,} of {told['samples']:,}"))
    if told["agreement"] is not None:
        items.append(("agreement", f"{told['agreement']:.1%} of the chains, on average"))
    costs = [
        [name, render.number(told["cost"][key]["mean"]), render.count(told["cost"][key]["total"])]
        for name, key in COSTS
    ]
    parts = [render.pairs(items), render.table(["cost", "a row", "in all"], costs, right=(1, 2))]
    notes = [f"note: {render.literal(note)}" for note in told.get("notes", ())]
    if uncounted := told["cost"]["uncounted"]["total"]:
        notes.append(
            f"note: the tokens of {uncounted:,} requests are not in these numbers: they were cancelled, or "
            "the server did not count"
        )
    if told.get("interval") and told["interval"]["note"]:
        notes.append(f"note: {told['interval']['note']}")
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _state(told: dict[str, Any]) -> str:
    error = told.get("error")
    return f"{told['state']}: {render.literal(error['message'])}" if error else str(told["state"])


def accuracy(value: float | None, interval: dict[str, Any] | None) -> str:
    """An accuracy with its interval."""
    if value is None:
        return NONE
    if interval is None:
        return f"{value:.1%}, and no interval: all rows are the same"
    bounds = f"[{interval['low']:.1%}, {interval['high']:.1%}]"
    return f"{value:.1%}  {bounds}  {interval['level']:.0%}, {interval['method']}"


def comparison(first: str, second: str, told: dict[str, Any], rows: int) -> str:
    """Two evaluations beside each other, with up to so many of the rows where they differ."""
    interval = told["interval"]
    points = f"{told['difference'] * 100:+.1f} points"
    if interval is not None:
        points += f"  [{interval['low'] * 100:+.1f}, {interval['high'] * 100:+.1f}]  {interval['method']}"
    else:
        points += ", the same on every row"
    only = [told["only_in_first"], told["only_in_second"]]
    items = [
        (
            "rows in both",
            f"{told['items']:,}" + (f" (and {only[0]:,}, {only[1]:,} in one)" if any(only) else ""),
        ),
        ("A", f"{accuracy(told['first']['accuracy'], told['first']['interval'])}  {render.literal(first)}"),
        (
            "B",
            f"{accuracy(told['second']['accuracy'], told['second']['interval'])}  {render.literal(second)}",
        ),
        ("B less A", points),
    ]
    test = told["mcnemar"]
    if test is not None:
        items.append(
            ("McNemar, exact", f"p = {test['p']:.4g} ({test['gained']} gained, {test['lost']} lost)")
        )
    names = {
        "both_right": "both right",
        "only_second_better": "B better",
        "only_first_better": "A better",
        "both_in_part": "both alike, in part",
        "both_wrong": "both wrong",
    }
    counts = [
        [names[key], f"{told['table'][key]:,}"]
        for key in names
        if key != "both_in_part" or told["table"][key]
    ]
    parts = [render.pairs(items), render.table(["rows", "count"], counts, right=(1,))]
    if told["differing"] and rows:
        lines = [
            [
                render.literal(pair["id"]),
                f"{pair['first']:.2g}",
                f"{pair['second']:.2g}",
                render.literal(pair["question"]),
            ]
            for pair in told["differing"][:rows]
        ]
        for line in lines:
            line[3] = render.clip(line[3], 60)
        parts.append(render.table(["id", "A", "B", "question"], lines, right=(1, 2)))
        if len(told["differing"]) > rows:
            parts.append(f"and {len(told['differing']) - rows:,} more: --rows N shows more, --json all")
    if told["warnings"]:
        parts.append("\n".join(f"warning: {render.literal(warning)}" for warning in told["warnings"]))
    return "\n\n".join(parts)
