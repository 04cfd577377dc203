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
    if told["judge"] is not None:
        items += _judge(told["judge"])
    elif told["scored"]:
        items.append(("accuracy", accuracy(told["accuracy"], told["interval"])))
    if told["right_in_any"] is not None:
        items.append(("right at least once", f"{told['right_in_any']:.1%}"))
    if told["judge"] is None:
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
    interval = (told["judge"] or told)["interval"]
    if interval and interval["note"]:
        notes.append(f"note: {interval['note']}")
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _judge(judge: dict[str, Any]) -> list[tuple[str, str]]:
    """What a judge said, and how often it said nothing that counts."""
    low, high = judge["scale"]
    name = judge["model"].rstrip("/").rpartition("/")[2]
    total = judge["verdicts"] + judge["malformed"]
    tokens = [render.count(judge[key]) for key in ("prompt_tokens", "completion_tokens")]
    without = f"{judge['malformed']:,} of {total:,} answers"
    return [
        ("judge", f"{render.literal(name)}, from {low} to {high}"),
        ("score", accuracy(judge["score"], judge["interval"], (0, 1))),
        ("without a verdict", f"{without}: malformed, not in the score" if judge["malformed"] else without),
        ("judge's tokens", f"{tokens[0]} read, {tokens[1]} written"),
    ]


def _state(told: dict[str, Any]) -> str:
    error = told.get("error")
    return f"{told['state']}: {render.literal(error['message'])}" if error else str(told["state"])


def accuracy(
    value: float | None, interval: dict[str, Any] | None, scale: tuple[int, int] | None = None
) -> str:
    """A mean of scores with its interval: an accuracy, or shares of a judge's scale as scores on it."""
    if value is None:
        return NONE

    def shown(share: float) -> str:
        return f"{share:.1%}" if scale is None else f"{scale[0] + share * (scale[1] - scale[0]):.2f}"

    if interval is None:
        return f"{shown(value)}, and no interval: all rows are the same"
    bounds = f"[{shown(interval['low'])}, {shown(interval['high'])}]"
    return f"{shown(value)}  {bounds}  {interval['level']:.0%}, {interval['method']}"


def _difference(told: dict[str, Any]) -> str:
    """The second less the first, in points of a hundred, or of a judge's scale."""
    interval, scale = told["interval"], told["scale"]
    unit, digits = (100, 1) if scale is None else (scale[1] - scale[0], 2)
    points = f"{told['difference'] * unit:+.{digits}f} points"
    if interval is None:
        return f"{points}, the same on every row"
    ends = ", ".join(f"{interval[name] * unit:+.{digits}f}" for name in ("low", "high"))
    return f"{points}  [{ends}]  {interval['method']}"


def comparison(first: str, second: str, told: dict[str, Any], rows: int) -> str:
    """Two evaluations beside each other, with up to so many of the rows where they differ."""
    means = {
        name: accuracy(told[name]["accuracy"], told[name]["interval"], told["scale"])
        for name in ("first", "second")
    }
    only = [told["only_in_first"], told["only_in_second"]]
    items = [
        (
            "rows in both",
            f"{told['items']:,}" + (f" (and {only[0]:,}, {only[1]:,} in one)" if any(only) else ""),
        ),
        ("A", f"{means['first']}  {render.literal(first)}"),
        ("B", f"{means['second']}  {render.literal(second)}"),
        ("B less A", _difference(told)),
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
    if told["scale"] is not None:
        names |= {"both_right": "both at best", "both_in_part": "both alike", "both_wrong": "both at worst"}
    counts = [
        [names[key], f"{told['table'][key]:,}"]
        for key in names
        if key != "both_in_part" or told["table"][key]
    ]
    parts = [render.pairs(items), render.table(["rows", "count"], counts, right=(1,))]
    if told["differing"] and rows:
        low, high = told["scale"] or (0, 1)
        lines = [
            [
                render.literal(pair["id"]),
                f"{low + pair['first'] * (high - low):.2g}",
                f"{low + pair['second'] * (high - low):.2g}",
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
