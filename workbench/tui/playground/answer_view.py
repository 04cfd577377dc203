"""The conversation of a column: what was said before, the question, and the answer as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.tui.playground.column import Column
from workbench.tui.playground.empty import empty_lines
from workbench.tui.playground.passages import cited_lines
from workbench.tui.playground.stream_lines import StreamLines, lines_of
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, Span, plain

if TYPE_CHECKING:
    from workbench.inference.generation import Message

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

    def show(self, column: Column) -> None:
        """Bring it in line with the column; cheap when the answer has only grown."""
        if column.state == "empty":
            self._drawn, self._tail, self._written = (), [], 0
            self.set_lines(empty_lines(column))
            return
        chain = column.shown
        log = chain.log if chain is not None else []
        drawn = (column, column.question, column.earlier, column.chain, column.job)
        tail = tail_lines(column)
        if drawn == self._drawn and tail == self._tail == [] and 0 < self._written <= len(log):
            self.append(log[self._written :])
        elif drawn != self._drawn or tail != self._tail or len(log) != self._written:
            fresh = drawn[:3] != self._drawn[:3]
            self.set_lines([*head_lines(column), *lines_of(log), *tail])
            if fresh:
                self.scroll_end(animate=False)
        self._drawn, self._tail, self._written = drawn, tail, len(log)


def message_lines(message: Message) -> list[Line]:
    """A message of a conversation."""
    role = str(message.get("role", ""))
    spans: list[Span] = [(SIGNS.get(role, "") + _content(message.get("content")), ROLES.get(role, ""))]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        words = f"{function.get('name')}({function.get('arguments')})"
        spans.append((f"\n→ {reveal_control(words)}", "key"))
    return [*lines_of(spans), ()]


def _content(content: Any) -> str:
    return content if isinstance(content, str) else "" if content is None else str(content)


def head_lines(column: Column) -> list[Line]:
    """What stands above the answer."""
    lines = [line for message in column.earlier for line in message_lines(message)]
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
