"""The conversation of a column: what was said before, the question, and the answer as it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.tui.playground.column import Column
from workbench.tui.playground.empty import empty_lines
from workbench.tui.playground.passages import cited_lines
from workbench.tui.playground.stream_lines import StreamLines, lines_of
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, Span, plain

if TYPE_CHECKING:
    from workbench.inference.generation import Message

Layout: TypeAlias = Callable[[str], list[Line]]
"""Makes lines of what a model said."""

ROLES = {"user": "key", "system": "dim", "tool": "dim"}
STARTS_AGAIN = "The next prompt starts the engine again; g starts it now."
SIGNS = {"user": "› ", "system": "system  ", "tool": "← "}


class AnswerView(StreamLines):
    """Shows one chain of a column and follows it while it grows."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(follow=True, id=id)
        self._drawn: tuple[object, ...] = ()
        self._tail: list[Line] = []
        self._written = 0

    def show(self, column: Column, *, markdown: bool = False) -> None:
        """Bring it in line with the column; cheap when the answer has only grown.

        With `markdown`, answers are laid out as that, the one that is still growing aside: laying it out anew
        for every few tokens would cost the more the longer it is, and half a table is none.
        """
        # What there is to do is read from its beginning.
        self.follow = column.state != "empty"
        if not self.follow:
            self._drawn, self._tail, self._written = (), [], 0
            self.set_lines(empty_lines(column))
            return
        chain = column.shown
        log = chain.log if chain is not None else []
        width = self.scrollable_content_region.width if markdown else 0
        drawn = (column, column.question, column.earlier, column.chain, column.job, width)
        tail = tail_lines(column)
        if drawn == self._drawn and tail == self._tail == [] and 0 < self._written <= len(log):
            self.append(log[self._written :])
        elif drawn != self._drawn or tail != self._tail or len(log) != self._written:
            fresh = drawn[:3] != self._drawn[:3]
            lay = _layout(width) if markdown else _literally
            answer = lines_of(log) if column.busy else log_lines(log, lay)
            self.set_lines([*head_lines(column, lay), *answer, *tail])
            if fresh:
                self.scroll_end(animate=False)
        self._drawn, self._tail, self._written = drawn, tail, len(log)


def _literally(text: str) -> list[Line]:
    return lines_of([(text, "")])


def _layout(width: int) -> Layout:
    from workbench.tui.playground.markdown_lines import markdown_lines

    return lambda text: markdown_lines(text, width)


def log_lines(log: Sequence[Span], lay: Layout) -> list[Line]:
    """What a chain wrote, laid out; what was done between, its calls and their results, is literal."""
    lines: list[Line] = []
    for is_said, spans in groupby(log, key=lambda span: not span[1]):
        part = list(spans)
        lines += lay("".join(text for text, _ in part)) if is_said else lines_of(part)
        if not is_said and not lines[-1]:
            lines.pop()
    return lines


def message_lines(message: Message, lay: Layout = _literally) -> list[Line]:
    """A message of a conversation; `lay` lays out what a model said."""
    role, content = str(message.get("role", "")), _content(message.get("content"))
    if role == "assistant":
        lines = lay(content) if content else []
    else:
        lines = lines_of([(SIGNS.get(role, "") + content, ROLES.get(role, ""))])
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        words = f"{function.get('name')}({function.get('arguments')})"
        lines.append(plain(f"→ {reveal_control(words)}", "key"))
    return [*lines, ()]


def _content(content: Any) -> str:
    return content if isinstance(content, str) else "" if content is None else str(content)


def head_lines(column: Column, lay: Layout = _literally) -> list[Line]:
    """What stands above the answer."""
    lines = [line for message in column.earlier for line in message_lines(message, lay)]
    if column.question:
        lines += message_lines({"role": "user", "content": column.question})
    return lines


def tail_lines(column: Column) -> list[Line]:
    """What stands under the answer: what is waited for, how it ended, what it cites."""
    chain = column.shown
    if column.busy:
        if chain is not None and chain.log:
            return []
        return [plain(f"{reveal_control(column.words)} …".strip(), "dim")]
    lines: list[Line] = []
    if column.error is not None:
        error = column.error
        lines += [(), plain(f"{error.title}: {reveal_control(error.message)}", "bad")]
        lines += _named("where: ", error.where) + _named("try: ", error.hint)
        lines.append(plain("R sends it again", "dim"))
    elif column.state == "cancelled":
        lines += [(), plain("cancelled; R sends it again", "warn")]
    elif column.state == "done":
        lines += _outcome_lines(column)
    if column.gone:
        lines += [(), plain(reveal_control(column.gone), "warn"), plain(STARTS_AGAIN, "dim")]
    return lines


def _named(name: str, text: str) -> list[Line]:
    """The lines of a text behind a name, the second below the first."""
    parts = [reveal_control(part) for part in text.splitlines()]
    return [plain((" " * len(name) if number else name) + part) for number, part in enumerate(parts)]


def _outcome_lines(column: Column) -> list[Line]:
    chain = column.shown
    lines: list[Line] = []
    if chain is not None and chain.answer is not None:
        lines.append((("answer  ", "dim"), (reveal_control(chain.answer), "good")))
    if chain is not None and chain.finish == "length":
        lines.append(plain("cut off at max_tokens", "warn"))
    lines += cited_lines(column)
    lines += [plain(reveal_control(note), "dim") for note in column.notes]
    return [(), *lines] if lines else []
