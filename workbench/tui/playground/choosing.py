"""What is chosen in the Playground: models, techniques, sampling, prompts, documents, things of the past."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.errors import ServerError, WorkbenchError
from workbench.store import history
from workbench.store.history import HistoryEntry
from workbench.tui.editor import edit
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.catalog import Listed, choice_of
from workbench.tui.playground.column import Column
from workbench.tui.playground.conversing import Conversing
from workbench.tui.playground.history_screen import HistoryScreen, Wish, columns_of
from workbench.tui.playground.model_picker import ModelPicker
from workbench.tui.playground.picker import Entry, Picker
from workbench.tui.playground.preview import Preview, PreviewPane, look
from workbench.tui.playground.setup import ModelChoice, Specification, technique_name
from workbench.tui.playground.writing import OpenedPrompt
from workbench.tui.text import reveal_control

if TYPE_CHECKING:
    from workbench.prompting.prompt import Prompt as PromptText

R = TypeVar("R")
QUESTIONS = {
    "save": "name of the prompt",
    "ingest": "a folder of text, Markdown, PDF or HTML files",
    "embed": "a model that embeds them, as one names it for m; empty: words alone",
}
FREE_TEXT = "free text"
NO_EVALUATIONS = "No evaluations yet. In a shell: workbench eval --prompt qa --data FILE --model MODEL"


class PromptingActions(Conversing):
    """The actions that need more than the columns."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.working = ""
        self._asking = ""
        self._folder = ""
        self._edited = ""

    @property
    def preview(self) -> PreviewPane:
        """What the model will see."""
        raise NotImplementedError

    def note(self) -> str:
        """What goes on beside the conversations."""
        return reveal_control(self.working)

    def in_thread(self, work: Callable[[], R], then: Callable[[R], None]) -> None:
        """Do what imports or reads much on another thread, and take its result here; errors are shown."""
        self.behind(self.backstage.run(asyncio.to_thread(work)), then)

    def can(self, action: str) -> bool:
        """Whether a command does something now."""
        column = self.column
        return {
            "copy": column.shown is not None,
            "new": column.state != "empty",
            "resend": column.outgoing is not None and not self.busy,
            "remove": len(self.columns) > 1,
            "turn": len(self.columns) > 1,
            "large": len(self.columns) > 1,
            "chain": len(column.chains) > 1,
            "start": bool(column.gone),
        }.get(action, True)

    # The beginning.

    def begin(self) -> None:
        """Choose the model that was used last, or one that is at hand."""

        async def find() -> tuple[list[str], ModelChoice | None]:
            latest = await asyncio.to_thread(lambda: list(history.entries(limit=50)))
            sent = [entry.question for entry in reversed(latest)]
            used = [column.setup.model for entry in latest[:1] for column in columns_of(entry)]
            if used and used[0] is not None and is_there(used[0]):
                return sent, used[0]
            local: list[Listed] = await self.backstage.catalog.local()
            return sent, local[0].choice if local else None

        def take(found: tuple[list[str], ModelChoice | None]) -> None:
            sent, choice = found
            self.sent[:0] = sent
            column = self.columns[0]
            if choice is not None and column.setup.model is None and column.state == "empty":
                column.setup = replace(column.setup, model=choice)
                column.revision += 1
                self.redraw()

        self.behind(self.backstage.run(find()), take)

    # Models.

    def action_model(self) -> None:
        """Choose the model of the active column."""
        self.choose_model(self.warm)

    def choose_model(self, then: Callable[[Column], object]) -> None:
        """Have a model chosen for the active column, and go on with that."""
        column = self.column

        def take(choice: ModelChoice) -> None:
            column.setup = replace(column.setup, model=choice)
            then(column)

        def chosen(choice: ModelChoice | str | None) -> None:
            if isinstance(choice, str):
                typed = choice
                self.in_thread(lambda: choice_of(typed), take)
            elif choice is not None:
                take(choice)

        self.app.push_screen(ModelPicker(self.backstage, column.setup.model), chosen)

    # Techniques and sampling.

    def action_technique(self) -> None:
        """Choose the techniques of the active column, in a form."""

        def make() -> tuple[object, ...]:
            from workbench.prompting.retrieval.folders import collection_names
            from workbench.tui.playground.settings_draft import TechniqueDraft

            column = self.column
            return column, TechniqueDraft(self._usual_technique, column.setup.technique, collection_names())

        def show(made: tuple[object, ...]) -> None:
            from workbench.tui.playground.settings_draft import TechniqueDraft
            from workbench.tui.playground.settings_screen import SettingsScreen

            column, draft = made
            assert isinstance(column, Column) and isinstance(draft, TechniqueDraft)

            def take(used: bool | None) -> None:
                if used:
                    chosen = draft.specification() if draft.changes else None
                    column.setup = replace(column.setup, technique=chosen)
                    self.redraw()

            of_prompt = f", beside what “{self.writing.name}” says" if self.writing.prompt else ""
            self.app.push_screen(SettingsScreen(f"Techniques{of_prompt}", draft), take)

        self.in_thread(make, show)

    @property
    def _usual_technique(self) -> Specification:
        return list(self.writing.prompt.technique) if self.writing.prompt is not None else []

    def action_sampling(self) -> None:
        """Set how tokens are drawn in the active column, in a form."""
        column = self.column
        usual = dict(self.writing.prompt.sampling) if self.writing.prompt is not None else {}

        def show(_: None) -> None:
            from workbench.tui.playground.settings_draft import SamplingDraft
            from workbench.tui.playground.settings_screen import SettingsScreen

            draft = SamplingDraft(usual, column.setup)

            def take(used: bool | None) -> None:
                if used:
                    column.setup = draft.applied(column.setup)
                    self.redraw()

            self.app.push_screen(SettingsScreen("Sampling", draft), take)

        self.in_thread(_import_forms, show)

    # Prompts.

    def action_open(self) -> None:
        """Choose a prompt to write in."""

        def find() -> list[Entry[str]]:
            from workbench.prompting.prompts import list_prompts

            free = Entry(FREE_TEXT, "", "whatever you type, as it is, in a conversation that goes on")
            return [
                free,
                *(
                    Entry(one.name, one.name, one.description, "" if one.builtin else "yours")
                    for one in list_prompts()
                ),
            ]

        def show(entries: list[Entry[str]]) -> None:
            picker: Picker[str] = Picker("Prompts", "words of its name or description", entries)
            picker.at = self.writing.name
            self.app.push_screen(picker, self._prompt_chosen)

        self.in_thread(find, show)

    def _prompt_chosen(self, name: str | None) -> None:
        if name == "":
            self.write_in(None)
        elif name is not None:
            chosen = name

            def read() -> OpenedPrompt:
                from workbench.prompting.prompts import load_prompt
                from workbench.tui.playground.writing import opened

                return opened(load_prompt(chosen))

            self.in_thread(read, self.write_in)

    def write_in(self, prompt: OpenedPrompt | None) -> None:
        """Write in a prompt; techniques and sampling are then as it says."""
        self.writing.open(prompt)
        for column in self.columns:
            column.setup = replace(column.setup, technique=None, sampling={})
            column.usual_technique = technique_name(self._usual_technique)
        self.editor.show()
        self.editor.write()
        self.redraw()

    def action_mode(self) -> None:
        """Whether what is sent next goes on with the conversation."""
        self.writing.goes_on = not self.writing.goes_on
        self.editor.show()

    def action_edit(self) -> None:
        """Edit the prompt's YAML, and write in what it has become."""
        from workbench.tui.playground.writing import as_yaml

        before = self._edited or as_yaml(self.writing)
        try:
            text = edit(self.app, before, "prompt.yaml")
        except WorkbenchError as error:
            notify_error(self.app, error)
            return
        if text.strip() == before.strip() and not self._edited:
            return
        # What is wrong in it is there to be mended the next time.
        self._edited = text
        name = self.writing.name

        def read() -> OpenedPrompt:
            from workbench.prompting.prompt import parse_prompt
            from workbench.tui.playground.writing import opened

            return opened(parse_prompt(text, name))

        def take(prompt: OpenedPrompt) -> None:
            self._edited = ""
            self.write_in(prompt)

        self.in_thread(read, take)

    def action_save(self) -> None:
        self._ask("save", self.writing.name)

    def _answer_save(self, name: str) -> None:
        from workbench.tui.playground.writing import as_yaml

        text = as_yaml(self.writing)

        def save() -> OpenedPrompt:
            from workbench.prompting.prompt_versions import save_prompt
            from workbench.tui.playground.writing import opened

            saved: PromptText = save_prompt(name, text)
            return opened(saved)

        def take(prompt: OpenedPrompt) -> None:
            self.write_in(prompt)
            notify(self.app, f"{prompt.name} is saved; o opens it")

        self.in_thread(save, take)

    # Documents.

    def action_ingest(self) -> None:
        self._ask("ingest", "")

    def _answer_ingest(self, folder: str) -> None:
        self._folder = folder
        self._ask("embed", "")

    def _answer_embed(self, model: str) -> None:
        path = Path(self._folder).expanduser().absolute()
        column = self.column

        def progress(what: str, done: int, total: int) -> None:
            self.call_later(self.work_on, f"{what} {done:,} of {total:,}")

        async def make() -> tuple[str, str]:
            from workbench.prompting.retrieval.ingest import ingest

            name = path.name.lstrip(".") or "documents"
            embedder: Any = None
            if model:
                choice = await asyncio.to_thread(choice_of, model)
                opened = await self.backstage.catalog.open(choice, lambda words: None)
                if not hasattr(opened, "embed"):
                    raise ServerError("it gives no embeddings", where=choice.label)
                embedder = opened
            report = await ingest(path, name, embedder, progress=progress)
            skipped = f", {len(report.skipped)} files skipped" if report.skipped else ""
            return report.name, f"{report.documents:,} documents, {report.chunks:,} passages{skipped}"

        def take(made: tuple[str, str]) -> None:
            name, words = made
            self.work_on("")
            kept = [part for part in column.setup.technique or self._usual_technique if "rag" not in part]
            column.setup = replace(column.setup, technique=[*kept, {"rag": {"collection": name}}])
            notify(self.app, f"{name}: {words}. The column answers from it now.")
            self.redraw()

        self.work_on(f"reading {path.name}")
        self.behind(self.backstage.run(make()), take, lambda: self.work_on(""))

    def work_on(self, words: str) -> None:
        """Say what goes on beside the conversations."""
        self.working = words
        self.redraw()

    # The past.

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
            from workbench.tui.playground.writing import opened

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

    # The future.

    def look_ahead(self) -> None:
        """Show the tokens that the active column's model will see."""
        self.preview.say("looking …")
        outgoing = self.writing.outgoing(
            self.column.setup, self.column.messages if self.writing.goes_on else ()
        )

        def take(preview: Preview) -> None:
            self.preview.take(preview)
            if not self.editor.active:
                self.take_keys()

        self.behind(
            self.backstage.run(look(outgoing, self.backstage)), take, lambda: self.preview.say("no preview")
        )

    # Questions of one line.

    def _ask(self, what: str, value: str) -> None:
        self._asking = what
        self.question.placeholder = QUESTIONS[what]
        self.question.ask(value)

    def take_answer(self, text: str) -> None:
        """What was typed in answer to a question."""
        if text or self._asking == "embed":
            getattr(self, f"_answer_{self._asking}")(text)

    def action_write(self) -> None:
        """Write."""
        self.editor.write()


def is_there(choice: ModelChoice) -> bool:
    """Whether a model that was used before can still be: of a folder that is gone it cannot."""
    is_path = choice.kind == "local" and choice.model.startswith("/")
    return not is_path or Path(choice.model).exists()


def _import_forms() -> None:
    """What the forms need, imported where it keeps nobody waiting."""
    import workbench.tui.playground.settings_draft  # noqa: F401
