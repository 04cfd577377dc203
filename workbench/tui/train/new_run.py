"""Starting a run: choose a preset, change what should be different, see at once what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.form.editor import FormEditor
from workbench.tui.form.field_list import FormList
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.pick_list import PickList

if TYPE_CHECKING:
    from workbench.recipe import Preset
    from workbench.tui.form.recipe_draft import RecipeDraft

COMMANDS = (
    Command("form.start", "ctrl+j,f5", "start", "start", "Start the run."),
    Command("form.only_changed", "c", "only_changed", "changed", "Show only what differs from the preset."),
    Command("form.edit", "e", "edit", "YAML", "Edit the recipe as YAML in $EDITOR."),
    Command("form.copy", "y", "copy", "copy", "Copy the command line of this run.", footer=False),
    Command("form.back", "escape", "back", "back", "Go back a step."),
    Command("form.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
)


class NewRunScreen(ModalScreen[str | None]):
    """The form; dismisses with the name of the run that was made, or None."""

    HELP_TITLE = "New run"
    DEFAULT_CSS = """
    NewRunScreen { background: $background; }
    NewRunScreen #form-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    NewRunScreen PickList { height: 1fr; border: none; background: $background; padding: 0 1; }
    NewRunScreen #form-command { height: auto; min-height: 2; max-height: 4; padding: 0 1; }
    NewRunScreen #form-command { color: $text-muted; }
    NewRunScreen.-presets FormEditor, NewRunScreen.-presets #form-command { display: none; }
    NewRunScreen.-form PickList { display: none; }
    """
    BINDINGS = bindings(*COMMANDS)

    def __init__(
        self, source: str | None = None, *, edit: bool = False, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Start at the list of presets, or at `source`; with `edit` in the editor at once.

        `changes` are values by dotted key that the form opens with, beside what `source` says.
        """
        super().__init__()
        self._source, self._edit_first, self._changes = source, edit, changes or {}
        self._draft: RecipeDraft | None = None
        self._presets: list[Preset] = []
        self._unfinished = ""
        self._starting = False

    def compose(self) -> ComposeResult:
        yield Static("New run", id="form-title", markup=False)
        yield PickList(id="presets", compact=True)
        yield FormEditor()
        yield Static(id="form-command", markup=False)
        yield KeyBar()

    @property
    def form(self) -> FormEditor:
        return self.query_one(FormEditor)

    @property
    def fields(self) -> FormList:
        return self.form.fields

    def on_mount(self) -> None:
        self.fields.symbols = getattr(self.app, "symbols", "braille")
        self.set_class(True, "-presets")
        self.query_one(PickList).focus()
        # The recipe brings pydantic, a sixth of a second: the screen stands there meanwhile.
        if self._source is None:
            self.run_worker(self._list_presets, thread=True)
        else:
            self._open(self._source)

    def _list_presets(self) -> None:
        from workbench.recipe import list_presets

        runs = list_presets("runs")
        names = {preset.name for preset in runs}
        shapes = [preset for preset in list_presets("models") if preset.name not in names]
        self.app.call_from_thread(self._show_presets, runs + shapes)

    def _show_presets(self, presets: list[Preset]) -> None:
        self._presets = presets
        options = self.query_one(PickList)
        for preset in presets:
            text = Text(reveal_control(preset.name), "bold")
            text.append("\n  " + ("" if preset.builtin else "(yours) ") + reveal_control(preset.description))
            options.add_option(Option(text))
        options.highlighted = 0 if presets else None
        self._title("· choose a preset, enter opens it")

    @on(OptionList.OptionSelected)
    def _preset_chosen(self, message: OptionList.OptionSelected) -> None:
        preset = self._presets[message.option_index]
        self._open(preset.name if preset.builtin else str(preset.path))

    def _open(self, source: str) -> None:
        def read() -> None:
            from workbench.tui.form.recipe_draft import RecipeDraft

            try:
                draft = RecipeDraft(
                    source, source.rpartition("/")[0].rpartition("/")[2] if self._edit_first else ""
                )
                draft.set_values(self._changes)
            except WorkbenchError as error:
                notify_error(self.app, error)
                if self._source is not None:
                    self.app.call_from_thread(self.dismiss, None)
                return
            self.app.call_from_thread(self._show_form, draft)

        self.run_worker(read, thread=True)

    def _show_form(self, draft: RecipeDraft) -> None:
        self._draft = draft
        self.set_class(False, "-presets")
        self.set_class(True, "-form")
        if self._edit_first:
            draft.forget_name()
        self.form.show(draft)
        self.fields.focus()
        if self._edit_first:
            self._edit_first = False
            self.call_after_refresh(self.action_edit)

    def _title(self, words: str) -> None:
        self.query_one("#form-title", Static).update(f"New run {words}")

    @on(FormEditor.Changed)
    def _show_state(self) -> None:
        """What follows from the draft beside its fields: title and command line."""
        draft = self._draft
        if draft is None:
            return
        changed, wrong = len(draft.overrides), len(draft.problems)
        state = f"{wrong} wrong" if wrong else "ctrl+j starts it"
        found = f" · /{self.form.search}" if self.form.search else ""
        found += " · only changed" if self.form.only_changed else ""
        self._title(reveal_control(f"from {draft.stem} · {changed} changed · {state}{found}"))
        self.query_one("#form-command", Static).update(reveal_control(f"$ {draft.command_line}"))
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("start", "only_changed", "edit", "copy"):
            typing = isinstance(self.focused, Input)
            return self._draft is not None and (action == "start" or not typing)
        return True

    def action_only_changed(self) -> None:
        self.form.toggle_only_changed()

    def action_copy(self) -> None:
        if self._draft:
            self.app.copy_to_clipboard(self._draft.command_line)
            notify(self.app, "Copied the command line")

    def action_back(self) -> None:
        """Out of the input, the search, the form, the screen: one step each."""
        if self.form.step_back():
            return
        if self._draft is not None and self._source is None:
            self._draft = None
            self.set_class(True, "-presets")
            self.set_class(False, "-form")
            self.query_one(PickList).focus()
            self._title("· choose a preset, enter opens it")
        else:
            self.dismiss(None)

    def action_edit(self) -> None:
        from workbench.tui import editor

        draft = self._draft
        if draft is None:
            return
        try:
            text = editor.edit(self.app, self._unfinished or draft.yaml())
            # Kept until it is right, so that a mistake costs no second typing.
            self._unfinished = text
            draft.take_yaml(text)
            self._unfinished = ""
        except WorkbenchError as error:
            notify_error(self.app, error)
        self.form.refresh_fields()

    def action_start(self) -> None:
        draft = self._draft
        if draft is None or self._starting:
            return
        if draft.problems:
            key = self.form.show_problem()
            self.app.notify(
                f"{key}: {reveal_control(draft.problems[key])}",
                title="Not startable yet",
                severity="error",
                markup=False,
            )
            return
        self._starting = True
        self.run_worker(lambda: self._start(draft), thread=True)

    def _start(self, draft: RecipeDraft) -> None:
        from workbench.store import launch
        from workbench.store.runs import create_run

        name = None
        try:
            run = create_run(draft.recipe(), draft.stem)
            name = run.name
            launch.start(run)
            notify(self.app, f"Started {reveal_control(name)}")
        except WorkbenchError as error:
            notify_error(self.app, error)
        self._starting = False
        if name is not None:
            self.app.call_from_thread(self.dismiss, name)
