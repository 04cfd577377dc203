"""Cleanings in words and tables."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import Any

from workbench.cli import render
from workbench.cli.render import literal
from workbench.store.cleaning_steps import StepCounts

BAR = 20
SHOWN = 600
"""Characters of a text that is shown whole; of longer ones what is around the change, or the beginning."""
AROUND = 60


def steps_table(steps: list[StepCounts]) -> str:
    """Each step: records in, kept, changed, dropped, as a bar, and the commonest reasons."""
    rows = []
    for step in steps:
        reasons = ", ".join(f"{literal(reason)} {count:,}" for reason, count in step.reasons.most_common(3))
        counts = [f"{step.counts[name]:,}" for name in ("in", "kept", "changed", "dropped")]
        rows.append([step.name, *counts, bar(step), reasons])
    return render.table(["step", "in", "kept", "changed", "dropped", "", "why"], rows, right=(1, 2, 3, 4))


def bar(step: StepCounts, width: int = BAR) -> str:
    """Kept, changed and dropped as parts of a bar."""
    if not step.came:
        return ""
    marks = "█▒·" if render.has_unicode() else "#+."
    changed = round(step.counts["changed"] / step.came * width)
    dropped = round(step.counts["dropped"] / step.came * width)
    # What happened at all is seen, however seldom.
    changed = max(changed, int(step.counts["changed"] > 0))
    dropped = max(dropped, int(step.counts["dropped"] > 0))
    kept = max(0, width - changed - dropped)
    return marks[0] * kept + marks[1] * changed + marks[2] * dropped


def trial(found: dict[str, Any]) -> str:
    """What a dry run says: the steps, what their rules measured, and some of what they dropped."""
    parts = []
    rows = [
        [step["step"], *(f"{step[name]:,}" for name in ("in", "kept", "changed", "dropped"))]
        for step in found["steps"]
    ]
    if rows:
        parts.append(render.table(["step", "in", "kept", "changed", "dropped"], rows, right=(1, 2, 3, 4)))
    for step in found["steps"]:
        lines = []
        for reason, count in step["reasons"].items():
            rule = next((rule for rule in step["rules"] if rule["reason"] == reason), None)
            told = f": {rule['key']} wants {rule['measures']} {rule['wants']}" if rule else ""
            lines.append(f"  {count:,} {literal(reason)}{told}")
            if rule:
                lines.append(f"      observed: {rule['observed']}")
        for example in step["examples"]:
            lines += ["", *("  " + line for line in example_lines(example))]
        if lines:
            parts.append("\n".join([render.style(step["step"], "bold"), *lines]))
    if found["stopped"]:
        parts.append(literal(found["stopped"], keep_lines=True))
    return "\n\n".join(parts)


def plan(found: dict[str, Any]) -> str:
    """Shards and stages, and the script of a cluster."""
    lines = [f"{found['shards']:,} shards of records of the kind {found['kind']}"]
    lines += [f"  {stage['name']}  {', '.join(stage['steps'])}".rstrip() for stage in found["stages"]]
    if "script" in found:
        lines += [
            "",
            "what the first stage is submitted with, FOLDER being that of the cleaning:",
            found["script"],
        ]
    return "\n".join(lines)


def example_lines(row: dict[str, Any]) -> list[str]:
    """A dropped or changed record: where it stands, why, and what changed."""
    detail = ", ".join(f"{key} {_short(value)}" for key, value in row["detail"].items())
    head = f"{literal(row['where'])}  {row['action']}: {literal(row['reason'])}"
    lines = [render.style(head, "yellow" if row["action"] == "changed" else "red")]
    if detail:
        lines.append(render.style(literal(detail), "dim"))
    if row["before"] is None:
        return [*lines, "(its text was not kept)"]
    if row["after"] is not None:
        return lines + changed_lines(row["before"], row["after"])
    if row["other"]:
        return [
            *lines,
            *changed_lines(row["other"], row["before"]),
            render.style("- only in what stays", "dim"),
        ]
    return lines + [line for line in _cut(row["before"]).split("\n")]


def _short(value: Any) -> str:
    return str(value)[:120] if not isinstance(value, dict) else " ".join(f"{k}={v}" for k, v in value.items())


def _cut(text: str) -> str:
    more = f" … {len(text) - SHOWN:,} more characters" if len(text) > SHOWN else ""
    return literal(text[:SHOWN], keep_lines=True) + more


def changed_lines(before: str, after: str) -> list[str]:
    """The lines that differ, `-` before and `+` after."""
    old, new = before.split("\n"), after.split("\n")
    found = []
    # The first two name the files; later ones that begin so are lines of the text.
    for line in islice(difflib.unified_diff(old, new, n=0, lineterm=""), 2, None):
        if line.startswith("@@"):
            continue
        text = line[:1] + " " + literal(line[1 : SHOWN + 1])
        found.append(render.style(text, "red" if line[0] == "-" else "green"))
        if len(found) == 40:
            return [*found, "…"]
    return found
