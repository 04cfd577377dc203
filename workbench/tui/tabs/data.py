"""The Data tab: the sources of a recipe, their records, the tokenizer, and rows as the objective sees them.

Reading is done by a child process, for it needs the data room and sometimes torch; asking it is done in
a thread, and what comes back is taken in here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import reactive
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.store.inspector import Inspector
from workbench.tui.commands import bindings
from workbench.tui.data.cleaning_pane import CleaningPane
from workbench.tui.data.commands import COMMANDS, PANES
from workbench.tui.data.labels_pane import LabelsPane
from workbench.tui.data.records_pane import PAGE, RecordsPane
from workbench.tui.data.sources_pane import SourcesPane
from workbench.tui.data.subject import Subject
from workbench.tui.data.tokenizer_pane import TokenizerPane
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control, short_number
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip

QUESTIONS = {
    "open": "a preset's name, a recipe file, or a run",
    "add": "a file, folder, glob, stdlib: or a Hugging Face data set",
    "kind": "text, classification, regression, tagging, span_extraction, …",
    "columns": "text=sentence label=y, or, without a header line: text,label",
    "search": "words to look for in the records",
    "train": "size of the vocabulary, for example 8192",
    "clean_set": "a setting, for example near_duplicates.threshold=0.8",
    "clean_preset": "web, text, conversations, code, a file ending in .yaml, or the name of a cleaning",
}


class DataTab(Container):
    """Everything about what a model learns from."""

    HELP_TITLE = "Data"
    DEFAULT_CSS = """
    DataTab { height: 1fr; }
    DataTab #subject { height: 1; padding: 0 1; text-style: bold; }
    DataTab #panes { height: 1fr; }
    """
    BINDINGS = bindings(*COMMANDS)

    pane: reactive[str] = reactive("sources", init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.subject = Subject()
        self.inspector = Inspector()
        self._asking = ""
        self._fresh: set[str] = set()
        self._source = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="subject", markup=False)
        yield Prompt("", id="data-prompt")
        yield TabStrip([(pane.id, pane.key, pane.label) for pane in PANES], active=self.pane, id="data-strip")
        with Container(id="panes"):
            yield SourcesPane(id="sources")
            yield RecordsPane(id="records")
            yield TokenizerPane(id="tokenizer")
            yield LabelsPane(id="labels")
            yield CleaningPane(id="cleaning")

    def on_mount(self) -> None:
        if not self.children:  # the app is being closed, and nothing was composed
            return
        self._changed()
        self._show_pane()

    def on_unmount(self) -> None:
        self.inspector.close()

    def on_show(self) -> None:
        # The tab is shown again: the keys go to where they went before.
        self._show_pane()

    @property
    def prompt(self) -> Prompt:
        return self.query_one("#data-prompt", Prompt)

    @property
    def labels(self) -> LabelsPane:
        return self.query_one(LabelsPane)

    @property
    def records(self) -> RecordsPane:
        return self.query_one(RecordsPane)

    # What is on screen follows from the subject and the pane.

    def _changed(self) -> None:
        """The subject is another: nothing that was read is true any more."""
        self._fresh.clear()
        self.labels.set_reactive(LabelsPane.number, 0)
        self.records.set_reactive(RecordsPane.start, 0)
        self.records.words = ""
        count = len(self.subject.changes)
        changed = f" + {count} change{'s' * (count > 1)}" if count else ""
        self.query_one("#subject", Static).update(f"{reveal_control(self.subject.source)}{changed}")
        self._read()

    def watch_pane(self) -> None:
        self._show_pane()
        self._read()

    def _show_pane(self) -> None:
        for child in self.query_one("#panes").children:
            child.display = child.id == self.pane
        self.query_one("#data-strip", TabStrip).active = self.pane
        focusable = next(iter(self.query(f"#{self.pane} *").results()), None)
        for widget in self.query(f"#{self.pane} *").results():
            if widget.focusable and widget.display and not isinstance(widget, Input):
                focusable = widget
                break
        if focusable is not None:
            focusable.focus()

    def _read(self) -> None:
        """Ask for what the present pane shows, unless it is there."""
        if self.pane not in self._fresh and self.is_attached:
            getattr(self, f"_read_{self.pane}")()

    def _read_sources(self) -> None:
        pane = self.query_one(SourcesPane)

        def take(result: dict[str, Any]) -> None:
            self._fresh.add("sources")
            pane.take(result)

        self._ask(pane.say, take, lambda: ("sources", {"data": self.subject.mapping()["data"]}))

    def _read_records(self) -> None:
        pane = self.records

        def arguments() -> tuple[str, dict[str, Any]]:
            return "records", {"source": self._spec(), "start": pane.start, "count": PAGE}

        def take(result: dict[str, Any]) -> None:
            self._fresh.add("records")
            pane.take(result, str(self._spec()["path"]))

        self._ask(pane.say, take, arguments)

    def _spec(self) -> dict[str, Any]:
        sources = self.subject.sources()
        return sources[min(self._source, len(sources) - 1)]

    def _read_tokenizer(self) -> None:
        pane = self.query_one(TokenizerPane)

        def take(result: dict[str, Any]) -> None:
            self._fresh.add("tokenizer")
            pane.take(result)

        self._ask(
            pane.say, take, lambda: ("tokens", {"tokenizer": self.subject.mapping(), "text": pane.text})
        )

    def _read_labels(self) -> None:
        pane = self.labels

        def arguments() -> tuple[str, dict[str, Any]]:
            wanted = {"recipe": self.subject.mapping(), "side": pane.side, "start": pane.number, "count": 1}
            return "batch", wanted

        def take(result: dict[str, Any]) -> None:
            self._fresh.add("labels")
            pane.take(result)

        self._ask(pane.say, take, arguments)

    def _read_cleaning(self) -> None:
        self._fresh.add("cleaning")
        self.query_one(CleaningPane).take(self.subject.sources())

    def _ask(
        self,
        say: Callable[[str], None],
        take: Callable[[dict[str, Any]], None],
        arguments: Callable[[], tuple[str, dict[str, Any]]],
    ) -> None:
        """Ask the inspector in a thread; `say` tells how far it is, `take` gets the answer."""
        say("reading …")

        def call(do: Callable[..., None], *values: Any) -> None:
            self.app.call_from_thread(lambda: do(*values) if self.is_attached else None)

        def progress(what: str, done: int, total: int | None) -> None:
            share = f" {done / total:.0%}" if total else f" {short_number(done)}"
            call(say, f"{reveal_control(what)}{share}")

        def work() -> None:
            try:
                do, values = arguments()
                result = self.inspector.request(do, progress=progress, **values)
            except WorkbenchError as error:
                call(say, f"{error.title}: {reveal_control(error.message)}")
                notify_error(self.app, error)
                return
            call(take, result)

        self.run_worker(work, thread=True, group="inspect", exclusive=True)

    # What the panes say.

    @on(SourcesPane.Chosen)
    def _source_chosen(self, message: SourcesPane.Chosen) -> None:
        if message.index != self._source:
            self._source = message.index
            self._fresh.discard("records")
            self.records.set_reactive(RecordsPane.start, 0)

    @on(SourcesPane.Asked)
    def _source_asked(self, message: SourcesPane.Asked) -> None:
        self._source = message.index
        if message.what == "remove":
            self._change(lambda: self.subject.remove_source(message.index))
        else:
            self._question(message.what)

    @on(RecordsPane.Wanted)
    @on(TokenizerPane.Wanted)
    @on(LabelsPane.Wanted)
    def _wanted(self) -> None:
        self._fresh.discard(self.pane)
        self._read()

    @on(RecordsPane.Search)
    def _search(self, message: RecordsPane.Search) -> None:
        if message.again and self.records.words:
            self._find(self.records.start + 1)
        else:
            self._question("search")

    @on(CleaningPane.Asked)
    def _cleaning_asked(self, message: CleaningPane.Asked) -> None:
        self._question(f"clean_{message.what}", message.value)

    @on(CleaningPane.Used)
    def _cleaning_used(self, message: CleaningPane.Used) -> None:
        self._change(lambda: self.subject.add_source(message.path))
        notify(self.app, f"{message.path} is a source now; n starts a run on it")

    @on(TokenizerPane.TrainWanted)
    def _train_wanted(self) -> None:
        self._question("train")

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.pane = message.choice

    # What the keys do.

    def action_pane(self, pane: str) -> None:
        self.pane = pane

    def action_open(self) -> None:
        self._question("open")

    def action_add(self) -> None:
        self._question("add")

    def action_back(self) -> None:
        if self.prompt.asked:
            self.prompt.put_away()
            self._show_pane()
        else:
            # What takes long is given up; the next question starts another process.
            self.inspector.cancel()

    def action_reload(self) -> None:
        """Read everything again."""
        self._changed()

    def action_new_run(self) -> None:
        """A new run on this data, in the form."""
        from workbench.tui.train.new_run import NewRunScreen

        def started(name: str | None) -> None:
            if name is not None:
                notify(self.app, f"{name} is in the Train tab")

        self.app.push_screen(NewRunScreen(self.subject.source, changes=self.subject.changes), started)

    def _question(self, what: str, value: str = "") -> None:
        self._asking = what
        self.prompt.placeholder = QUESTIONS[what]
        self.prompt.ask(value)

    @on(Input.Submitted, "#data-prompt")
    def _answered(self, message: Input.Submitted) -> None:
        message.stop()
        text, what = message.value.strip(), self._asking
        self.prompt.put_away()
        self._show_pane()
        if text:
            getattr(self, f"_answer_{what}")(text)

    def _change(self, change: Callable[[], None]) -> None:
        """Change the subject and read again; a change that makes no recipe is taken back."""
        before = Subject(self.subject.source, dict(self.subject.changes))
        try:
            change()
            self.subject.mapping()
        except WorkbenchError as error:
            self.subject = before
            notify_error(self.app, error)
            return
        self._changed()

    def _answer_open(self, text: str) -> None:
        def change() -> None:
            from workbench.store.runs import list_runs

            runs = {run.name: str(run.recipe_path) for run in list_runs()}
            self.subject = Subject(runs.get(text, text))

        self._change(change)

    def _answer_add(self, text: str) -> None:
        path = Path(text).expanduser()
        self._change(lambda: self.subject.add_source(str(path.absolute()) if path.exists() else text))

    def _answer_kind(self, text: str) -> None:
        self._change(lambda: self.subject.set_source(self._source, kind=text))

    def _answer_columns(self, text: str) -> None:
        pairs = dict(part.split("=", 1) for part in text.split() if "=" in part)
        names: Any = pairs or [name.strip() for name in text.split(",")]
        self._change(lambda: self.subject.set_source(self._source, columns=names))

    def _answer_search(self, text: str) -> None:
        self.records.words = text
        self._find(0)

    def _find(self, start: int) -> None:
        pane = self.records

        def take(result: dict[str, Any]) -> None:
            found = result["records"]
            if not found:
                pane.say(f"“{reveal_control(pane.words)}” is in no further record")
                return
            pane.set_reactive(RecordsPane.start, found[0]["index"])
            self._fresh.discard("records")
            self._read_records()

        values = {"source": self._spec(), "text": pane.words, "start": start, "count": 1}
        self._ask(pane.say, take, lambda: ("search", values))

    def _answer_clean_set(self, text: str) -> None:
        self.query_one(CleaningPane).answer("set", text)

    def _answer_clean_preset(self, text: str) -> None:
        self.query_one(CleaningPane).answer("preset", text)

    def _answer_train(self, text: str) -> None:
        from workbench.paths import home

        pane = self.query_one(TokenizerPane)
        if not text.isdigit():
            notify(self.app, f"“{reveal_control(text)}” is no size of a vocabulary")
            return
        stem = Path(self.subject.source).name.removesuffix(".yaml")
        folder = str(home() / "tokenizers" / f"{stem}-{text}")

        def take(result: dict[str, Any]) -> None:
            notify(self.app, f"{result.get('vocab_size', text)} entries in {folder}")
            self._change(lambda: self.subject.changes.update({"model.tokenizer_name_or_path": folder}))

        recipe = self.subject.mapping()
        values = {"recipe": recipe, "vocab_size": int(text), "output": folder, "kind": "bpe"}
        self._ask(pane.say, take, lambda: ("train_tokenizer", values))
