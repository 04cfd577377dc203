"""Starting a run: choose a preset, change what should be different, see at once what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control
from workbench.tui.train.form_list import FormList
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.recipe import Preset
    from workbench.tui.train.draft import Draft

COMMANDS = (
    Command("form.start", "ctrl+j,f5", "start", "start", "Start the run."),
    Command("form.change", "enter", "change", "change", "Change the field."),
    Command("form.next_choice", "space,right", "turn(1)", "next", "Take the next choice.", False),
    Command("form.choice_before", "left", "turn(-1)", "before", "Take the choice before.", False),
    Command(
        "form.reset",
        "x,delete,backspace",
        "reset",
        "as preset",
        "Put the field back to what the preset says.",
    ),
    Command("form.search", "slash", "search", "search", "Find fields by name or help."),
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
    NewRunScreen OptionList { height: 1fr; border: none; background: $background; padding: 0 1; }
    NewRunScreen FormList { height: 1fr; }
    NewRunScreen #form-about { height: 3; padding: 0 1; color: $text-muted; border-top: solid $panel; }
    NewRunScreen #form-problem { height: 2; padding: 0 1; color: $error; }
    NewRunScreen #form-problem.-quiet { color: $text-muted; }
    NewRunScreen #form-command { height: auto; min-height: 2; max-height: 4; padding: 0 1; }
    NewRunScreen #form-command { color: $text-muted; }
    NewRunScreen.-presets FormList, NewRunScreen.-presets #form-about,
    NewRunScreen.-presets #form-problem, NewRunScreen.-presets #form-command { display: none; }
    NewRunScreen.-form OptionList { display: none; }
    """
    BINDINGS = bindings(*COMMANDS)

    def __init__(self, source: str | None = None, *, edit: bool = False) -> None:
        """Start at the list of presets, or at `source`; with `edit` in the editor at once."""
        super().__init__()
        self._source, self._edit_first = source, edit
        self._draft: Draft | None = None
        self._presets: list[Preset] = []
        self._search = ""
        self._only_changed = False
        self._before_edit = ""
        self._unfinished = ""
        self._starting = False

    def compose(self) -> ComposeResult:
        yield Static("New run", id="form-title", markup=False)
        yield Prompt("words of name or help", id="form-search")
        yield OptionList(id="presets", compact=True)
        yield FormList()
        yield Static(id="form-about", markup=False)
        yield Prompt("empty", id="form-input")
        yield Static(id="form-problem", markup=False)
        yield Static(id="form-command", markup=False)
        yield KeyBar()

    @property
    def fields(self) -> FormList:
        return self.query_one(FormList)

    def on_mount(self) -> None:
        self.fields.symbols = getattr(self.app, "symbols", "braille")
        self.set_class(True, "-presets")
        self.query_one(OptionList).focus()
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
        options = self.query_one(OptionList)
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
            from workbench.tui.train.draft import Draft

            try:
                draft = Draft(
                    source, source.rpartition("/")[0].rpartition("/")[2] if self._edit_first else ""
                )
            except WorkbenchError as error:
                notify_error(self.app, error)
                if self._source is not None:
                    self.app.call_from_thread(self.dismiss, None)
                return
            self.app.call_from_thread(self._show_form, draft)

        self.run_worker(read, thread=True)

    def _show_form(self, draft: Draft) -> None:
        self._draft = draft
        self.set_class(False, "-presets")
        self.set_class(True, "-form")
        if self._edit_first:
            draft.forget_name()
        self._show_fields()
        self.fields.focus()
        if self._edit_first:
            self._edit_first = False
            self.call_after_refresh(self.action_edit)

    def _title(self, words: str) -> None:
        self.query_one("#form-title", Static).update(f"New run {words}")

    def _show_fields(self) -> None:
        """Everything that follows from the draft: fields, title, problem, command line."""
        draft = self._draft
        if draft is None:
            return
        self.fields.show(draft, self._search, self._only_changed)
        changed, wrong = len(draft.overrides), len(draft.problems)
        state = f"{wrong} wrong" if wrong else "ctrl+j starts it"
        found = f" · /{self._search}" if self._search else ""
        found += " · only changed" if self._only_changed else ""
        self._title(reveal_control(f"from {draft.stem} · {changed} changed · {state}{found}"))
        self.query_one("#form-command", Static).update(reveal_control(f"$ {draft.command_line}"))
        self._show_about()
        self.refresh_bindings()

    @on(FormList.Moved)
    def _show_about(self) -> None:
        """What the field under the cursor is for, and what is wrong with it or with the whole."""
        draft, field = self._draft, self.fields.field
        if draft is None or field is None:
            return
        about = Text()
        about.append(field.key, "bold")
        preset = draft.base_text(field) or "empty"
        about.append(f"  {field.type_words}; preset: {reveal_control(preset)}\n{field.help}")
        self.query_one("#form-about", Static).update(about)
        problems = draft.problems
        problem = problems.get(field.key, "")
        if not problem and problems:
            key = next(iter(problems))
            problem = f"{key}: {problems[key]}"
        note = self.query_one("#form-problem", Static)
        note.set_class(not problem, "-quiet")
        quiet = "enter keeps it, esc puts back what was there" if self._editing else ""
        note.update(reveal_control(problem) or quiet)

    @property
    def _entry(self) -> Prompt:
        """Where a value is typed."""
        return self.query_one("#form-input", Prompt)

    @property
    def _searcher(self) -> Prompt:
        return self.query_one("#form-search", Prompt)

    @property
    def _editing(self) -> bool:
        return self._entry.asked

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        field = self.fields.field if self._draft and self.is_mounted else None
        if action in ("start", "search", "only_changed", "edit", "copy"):
            return self._draft is not None and (action == "start" or not self._typing)
        if action in ("change", "reset"):
            return field is not None and not self._typing
        if action == "turn":
            return field is not None and field.kind in ("bool", "choice") and not self._typing
        return True

    @property
    def _typing(self) -> bool:
        return isinstance(self.focused, Input)

    @on(FormList.Opened)
    def action_change(self) -> None:
        """Type into a field, or take the next choice of one that has choices."""
        draft, field = self._draft, self.fields.field
        if draft is None or field is None or self._editing:
            return
        if field.kind in ("bool", "choice"):
            self.action_turn(1)
            return
        self._before_edit = draft.text(field)
        self._entry.ask(self._before_edit)
        self._show_about()

    def action_turn(self, by: int) -> None:
        draft, field = self._draft, self.fields.field
        if draft is None or field is None:
            return
        if field.kind == "bool":
            draft.set_value(field, not draft.value(field))
        elif field.kind == "choice":
            value, choices = draft.value(field), field.choices
            index = choices.index(value) + by if value in choices else 0
            draft.set_value(field, choices[index % len(choices)])
        self._show_fields()

    def action_reset(self) -> None:
        if self._draft and self.fields.field:
            self._draft.reset(self.fields.field)
            self._show_fields()

    @on(Input.Changed, "#form-input")
    def _typed(self, message: Input.Changed) -> None:
        if self._draft and self.fields.field:
            self._draft.set_text(self.fields.field, message.value)
            self._show_fields()

    @on(Input.Submitted, "#form-input")
    def _typed_all(self) -> None:
        self._entry.put_away()
        self.fields.focus()

    def action_search(self) -> None:
        self._searcher.ask(self._search)

    @on(Input.Changed, "#form-search")
    def _searched(self, message: Input.Changed) -> None:
        self._search = message.value
        self._show_fields()

    @on(Input.Submitted, "#form-search")
    def _search_done(self) -> None:
        self._searcher.put_away()
        self.fields.focus()

    def action_only_changed(self) -> None:
        self._only_changed = not self._only_changed
        self._show_fields()

    def action_copy(self) -> None:
        if self._draft:
            self.app.copy_to_clipboard(self._draft.command_line)
            notify(self.app, "Copied the command line")

    def action_back(self) -> None:
        """Out of the input, the search, the form, the screen: one step each."""
        if self._editing:
            if self._draft and self.fields.field:
                self._draft.set_text(self.fields.field, self._before_edit)
            self._entry.put_away()
            self.fields.focus()
            self._show_fields()
        elif self._search or self._searcher.asked:
            self._searcher.put_away()
            self._search = ""
            self.fields.focus()
            self._show_fields()
        elif self._draft is not None and self._source is None:
            self._draft = None
            self.set_class(True, "-presets")
            self.set_class(False, "-form")
            self.query_one(OptionList).focus()
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
        self._show_fields()

    def action_start(self) -> None:
        draft = self._draft
        if draft is None or self._starting:
            return
        if draft.problems:
            key = next(iter(draft.problems))
            self._search, self._only_changed = "", False
            self._show_fields()
            self.fields.current = key if "." in key else self.fields.current
            self.app.notify(
                f"{key}: {reveal_control(draft.problems[key])}",
                title="Not startable yet",
                severity="error",
                markup=False,
            )
            return
        self._starting = True
        self.run_worker(lambda: self._start(draft), thread=True)

    def _start(self, draft: Draft) -> None:
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
