"""How a prompt and its answers are looked at on the ranking screen: nothing of it is written down."""

from __future__ import annotations

from textual.containers import Container

from workbench.tui.rank.answers import Answers
from workbench.tui.rank.prompt_text import PromptText


class LookingActions(Container):
    """The part of the screen that needs no disk, so that its keys are done at once."""

    @property
    def answers(self) -> Answers:
        """The answers."""
        return self.query_one(Answers)

    @property
    def prompt(self) -> PromptText:
        """What was asked."""
        return self.query_one(PromptText)

    def draw_prompt(self) -> None:
        """Show as much of the prompt as it is to have now."""
        raise NotImplementedError

    def say(self, words: str) -> None:
        """Say something in the last line."""
        raise NotImplementedError

    def action_turn(self, by: int) -> None:
        self.answers.turn(by)

    def action_large(self) -> None:
        self.answers.large = not self.answers.large

    def action_markdown(self) -> None:
        self.answers.markdown = not self.answers.markdown
        self.say("answers as Markdown" if self.answers.markdown else "answers as they came")

    def action_layout(self) -> None:
        self.answers.turned = not self.answers.turned

    def action_together(self) -> None:
        self.answers.together = not self.answers.together
        self.say("answers scroll together" if self.answers.together else "answers scroll one by one")

    def action_differences(self) -> None:
        self.answers.comparing = not self.answers.comparing
        self.say("words that the answer in focus has not" if self.answers.comparing else "")

    def action_prompt(self) -> None:
        self.prompt.turn()
        self.draw_prompt()

    def action_scroll_prompt(self, rows: int) -> None:
        self.prompt.scroll_rows(rows)

    def action_more(self) -> None:
        self.answers.more()
        self.refresh_bindings()

    def action_scroll(self, rows: int) -> None:
        self.answers.scroll(rows)

    def action_page(self, pages: int) -> None:
        self.answers.scroll(pages=pages)

    def action_end(self, to_end: bool) -> None:
        self.answers.scroll(to_end=to_end)
