"""What stands in place of the charts while there is nothing to draw, and what to do about it."""

from __future__ import annotations

from workbench.tui.text import reveal_control
from workbench.tui.train.info_pane import NEXT, part, progress_line
from workbench.tui.train.rows import Row

NO_RUNS = """\
No runs yet.

Press n to start one from a preset. The preset quickstart trains a small model on the source code \
of this machine's Python in a few minutes, on any CPU, with no download.

? shows every key."""


def words_for(row: Row | None, any_runs: bool, symbols: str, *, were_read: bool) -> str:
    """Why there is no curve of this run; none for a finished one before its metrics `were_read`."""
    if row is None:
        return "No run matches the filter. esc clears it." if any_runs else NO_RUNS
    if row.state == "finished" and not were_read:
        return ""
    lines = [f"{reveal_control(row.name)}: {row.state}"]
    if row.status.message:
        lines.append(reveal_control(row.status.message))
    error = row.status.error
    if isinstance(error, dict):
        lines += ["", f"{part(error, 'title')}: {part(error, 'message')}"]
        lines += [f"where: {part(error, 'where')}"] if error.get("where") else []
        lines += [f"try: {part(error, 'hint')}"] if error.get("hint") else []
    if row.status.progress:
        lines += ["", "".join(text for text, _ in progress_line(row, symbols))]
    elif row.active:
        lines += ["", "The curves begin with its first step. l shows its log."]
    if row.state in NEXT:
        lines += ["", NEXT[row.state]]
    elif row.state == "finished":
        lines += ["", "It logged no metrics of these names. v chooses others."]
    return "\n".join(lines)
