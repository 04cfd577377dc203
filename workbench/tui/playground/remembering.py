"""The past in the Playground: what was sent opened again, evaluations looked at."""

from __future__ import annotations

from workbench.store.history import HistoryEntry
from workbench.tui.notices import notify
from workbench.tui.playground.column import Column
from workbench.tui.playground.history_screen import HistoryScreen, Wish, columns_of
from workbench.tui.playground.judging import Judging
from workbench.tui.playground.picker import Entry, Picker
from workbench.tui.playground.setup import technique_name
from workbench.tui.playground.writing import OpenedPrompt, opened

NO_EVALUATIONS = "No evaluations yet. In a shell: workbench eval --prompt qa --data FILE --model MODEL"


class Remembering(Judging):
    """What is done with what is on disk."""

    def action_history(self) -> None:
        self.app.push_screen(HistoryScreen(), self._take_wish)

    def _take_wish(self, wish: Wish | None) -> None:
        if wish is None:
            return
        what, entry = wish
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
            return
        text, name = str(entry.sent.get("text") or ""), str(entry.sent.get("prompt") or "")

        def read() -> OpenedPrompt | None:
            from workbench.prompting.prompt import parse_prompt

            return opened(parse_prompt(text, name)) if text else None

        def take(prompt: OpenedPrompt | None) -> None:
            self.run_worker(self._reopen(entry, prompt, again=what == "send"), group="reopen")

        self.in_thread(read, take)

    async def _reopen(self, entry: HistoryEntry, prompt: OpenedPrompt | None, *, again: bool) -> None:
        """Have the columns as they stood, and what was sent where it was written."""
        self.writing.open(prompt)
        self.writing.restore(entry.sent)
        self.columns = columns_of(entry) or [Column(self.column.setup)]
        self.active = 0
        for column in self.columns:
            column.usual_technique = technique_name(self._usual_technique)
            column.outgoing = self.writing.outgoing(column.setup, column.earlier)
        if self.writing.goes_on:
            self.writing.fill("")
        self.editor.show()
        await self.fit_panes()
        self.call_after_refresh(self.focus)
        if again:
            self.action_resend()

    def action_evaluations(self) -> None:
        """Choose an evaluation to look at, item by item."""

        def find() -> list[Entry[str]]:
            from workbench.store.evaluations import list_evaluations
            from workbench.tui.playground.transcripts_screen import evaluation_words

            return [Entry(evaluation_words(one), one.name, one.name) for one in list_evaluations()]

        def show(entries: list[Entry[str]]) -> None:
            picker: Picker[str] = Picker("Evaluations", "words of a name, prompt, model", entries)
            if not entries:
                picker.note = NO_EVALUATIONS
            self.app.push_screen(picker, self._evaluation_chosen)

        self.in_thread(find, show)

    def _evaluation_chosen(self, name: str | None) -> None:
        from workbench.tui.playground.transcripts_screen import TranscriptsScreen

        if name is not None:
            self.app.push_screen(TranscriptsScreen(name))

    def action_copy(self) -> None:
        """Copy the answer in sight."""
        if self.column.shown is not None:
            self.app.copy_to_clipboard(self.column.shown.text)
            notify(self.app, "the answer is copied")
