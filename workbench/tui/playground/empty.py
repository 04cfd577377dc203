"""What stands in a column before anything was sent, and what to do."""

from __future__ import annotations

from workbench.tui.playground.column import Column
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

NO_MODEL = """\
Prompt a model, compare answers side by side, and see every token.

m      choose a model: of this machine, of a server, or any you can name

No model yet? In a shell:
  workbench pull SmolLM2-135M-Instruct
fetches a small one that answers on any CPU. Or choose a run of yours
that has finished.

? shows every key."""

READY = """\
enter  write, then enter again to send
t      techniques: examples, reasoning, votes, tools, your own documents
r      temperature, length, number of answers
P      a soft prompt that was learnt for the model
+      another column, to compare models or techniques on one prompt
o      prompts that are there already
h      what was sent before"""


def empty_lines(column: Column) -> list[Line]:
    """The words for a column that has nothing to show."""
    lines: list[Line] = []
    model = column.setup.model
    if model is not None:
        lines += [
            ((f"{reveal_control(model.label)}", "title"), (f"  {reveal_control(model.where)}", "dim")),
            (),
        ]
    if column.gone:
        lines += [plain(reveal_control(column.gone), "bad"), plain("g tries again", "dim"), ()]
    for text in (NO_MODEL if model is None else READY).splitlines():
        key, blank, rest = text.partition("  ")
        if blank and len(key) <= 5 and key:
            lines.append(((key, "key"), (blank + rest, "")))
        else:
            lines.append(plain(text))
    return lines
