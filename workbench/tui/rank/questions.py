"""Questions of one line in the Rank tab: names, notes, and files, whose paths are completed."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.containers import Container
from textual.widgets import Input, Static

from workbench.tui.rank.completing_paths import complete
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt

Answered = Callable[[str], None]


class Questions(Container):
    """The part of the tab that asks; it holds `#rank-asked`, what is asked, and `#rank-question`."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._answered_by: Answered = lambda text: None
        self._words, self._asks_path = "", False

    @property
    def question(self) -> Prompt:
        """Where names and files are typed."""
        return self.query_one("#rank-question", Prompt)

    def take_keys(self) -> None:
        """Give the keys to what is on screen."""
        raise NotImplementedError

    def ask(
        self, words: str, then: Answered, value: str = "", *, placeholder: str = "", path: bool = False
    ) -> None:
        """Ask for a line, or a `path`, and do something with it; `value` stands there to be changed, a
        `placeholder` only while nothing is typed."""
        self._answered_by, self._words, self._asks_path = then, words, path
        self._say(words)
        self.query_one("#rank-asked").display = True
        self.question.ask(value, reveal_control(placeholder))

    def _say(self, words: str) -> None:
        self.query_one("#rank-asked", Static).update(reveal_control(words))

    def put_question_away(self) -> None:
        """Ask no more."""
        self.query_one("#rank-asked").display = False
        self.question.put_away()
        self.take_keys()

    @on(Input.Submitted, "#rank-question")
    def _answered(self, message: Input.Submitted) -> None:
        """The line is there; an empty one is none."""
        message.stop()
        self.put_question_away()
        if text := message.value.strip():
            self._answered_by(text)

    def action_cancel(self) -> None:
        self.put_question_away()

    def action_complete(self) -> None:
        """Complete a path as far as it is clear, and show what it may be. Elsewhere the key does nothing, for
        it would lead out of the line."""
        if not self._asks_path:
            return
        text, names = complete(self.question.value)
        self.question.value = text
        self.question.cursor_position = len(text)
        if not names:
            self._say("no folder and no file of records begins so")
        else:
            self._say("  ".join(names) if len(names) > 1 else self._words)
