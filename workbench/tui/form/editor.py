"""The form: fields, what each is for, what is wrong with it, and the lines that values are typed into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Input, Static

from workbench.tui.commands import Command, bindings
from workbench.tui.form.field_list import FormList
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.tui.form.draft import Draft
    from workbench.tui.form.schema import FormField

COMMANDS = (
    Command("form.change", "enter", "change", "change", "Change the field."),
    Command("form.next_choice", "space,right", "turn(1)", "next", "Take the next choice.", False),
    Command("form.choice_before", "left", "turn(-1)", "before", "Take the choice before.", False),
    Command(
        "form.reset",
        "x,r,delete,backspace",
        "reset",
        "undo",
        "Put the field back to what it is where nothing is changed.",
    ),
    Command("form.search", "slash", "search", "search", "Find fields by name or help."),
)


class FormEditor(Container):
    """Shows a draft and changes it; every change of it is a message.

    `fields` are those to show (all of a recipe by default), asked for again after every change, since
    what one field says may decide which others there are. `group` names the heading of a field.
    """

    HELP_TITLE = "Form"
    DEFAULT_CSS = """
    FormEditor { height: 1fr; }
    FormEditor FormList { height: 1fr; }
    FormEditor .form-about { height: 3; padding: 0 1; color: $text-muted; border-top: solid $panel; }
    FormEditor .form-problem { height: 2; padding: 0 1; color: $error; }
    FormEditor .form-problem.-quiet { color: $text-muted; }
    """
    BINDINGS = bindings(*COMMANDS)

    class Changed(Message):
        """A value of the draft is another, or which fields are shown."""

    def __init__(
        self,
        fields: Callable[[Draft], Sequence[FormField]] | None = None,
        group: Callable[[FormField], str] | None = None,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._fields_of, self._group = fields, group
        self.draft: Draft | None = None
        self.search = ""
        self.only_changed = False
        self._before_edit = ""

    def compose(self) -> ComposeResult:
        yield Prompt("words of name or help", id="form-search")
        yield FormList()
        yield Static(classes="form-about", markup=False)
        yield Prompt("empty", id="form-input")
        yield Static(classes="form-problem", markup=False)

    @property
    def fields(self) -> FormList:
        """The list of the fields."""
        return self.query_one(FormList)

    @property
    def editing(self) -> bool:
        """Whether a value is being typed."""
        return self._entry.asked

    @property
    def _entry(self) -> Prompt:
        return self.query_one("#form-input", Prompt)

    @property
    def _searcher(self) -> Prompt:
        return self.query_one("#form-search", Prompt)

    @property
    def _typing(self) -> bool:
        return isinstance(self.app.focused, Input)

    def show(self, draft: Draft | None) -> None:
        """Show another draft, or none."""
        self.draft = draft
        self.refresh_fields()

    def refresh_fields(self) -> None:
        """Bring the fields in line with the draft, and tell of it."""
        draft = self.draft
        if draft is None:
            return
        fields = self._fields_of(draft) if self._fields_of else None
        self.fields.show(draft, self.search, self.only_changed, fields, self._group)
        self._show_about()
        self.post_message(self.Changed())
        self.refresh_bindings()

    @on(FormList.Moved)
    def _show_about(self) -> None:
        """What the field under the cursor is for, and what is wrong with it or with the whole."""
        draft, field = self.draft, self.fields.field
        if draft is None or field is None:
            return
        about = Text()
        about.append(field.key, "bold")
        words = [field.type_words, reveal_control(draft.unchanged_words(field))]
        about.append(f"  {'; '.join(filter(None, words))}\n{field.help}")
        self.query_one(".form-about", Static).update(about)
        problems = draft.problems
        problem = problems.get(field.key, "")
        if not problem and problems:
            key = next(iter(problems))
            problem = f"{key}: {problems[key]}"
        note = self.query_one(".form-problem", Static)
        note.set_class(not problem, "-quiet")
        quiet = "enter keeps it, esc puts back what was there" if self.editing else ""
        note.update(reveal_control(problem) or quiet)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        field = self.fields.field if self.draft and self.is_mounted else None
        if action == "search":
            return self.draft is not None and not self._typing
        if action in ("change", "reset"):
            return field is not None and not self._typing
        if action == "turn":
            return field is not None and field.kind in ("bool", "choice") and not self._typing
        return True

    @on(FormList.Opened)
    def action_change(self) -> None:
        """Type into a field, or take the next choice of one that has choices."""
        draft, field = self.draft, self.fields.field
        if draft is None or field is None or self.editing:
            return
        if field.kind in ("bool", "choice"):
            self.action_turn(1)
            return
        self._before_edit = draft.text(field)
        self._entry.ask(self._before_edit)
        self._show_about()

    def action_turn(self, by: int) -> None:
        draft, field = self.draft, self.fields.field
        if draft is None or field is None:
            return
        if field.kind == "bool":
            draft.set_value(field, not draft.value(field))
        elif field.kind == "choice":
            value, choices = draft.value(field), field.choices
            index = choices.index(value) + by if value in choices else 0
            draft.set_value(field, choices[index % len(choices)])
        self.refresh_fields()

    def action_reset(self) -> None:
        if self.draft and self.fields.field:
            self.draft.reset(self.fields.field)
            self.refresh_fields()

    @on(Input.Changed, "#form-input")
    def _typed(self, message: Input.Changed) -> None:
        if self.draft and self.fields.field:
            self.draft.set_text(self.fields.field, message.value)
            self.refresh_fields()

    @on(Input.Submitted, "#form-input")
    def _typed_all(self) -> None:
        self._entry.put_away()
        self.fields.focus()
        self._show_about()

    def action_search(self) -> None:
        self._searcher.ask(self.search)

    @on(Input.Changed, "#form-search")
    def _searched(self, message: Input.Changed) -> None:
        self.search = message.value
        self.refresh_fields()

    @on(Input.Submitted, "#form-search")
    def _search_done(self) -> None:
        self._searcher.put_away()
        self.fields.focus()

    def toggle_only_changed(self) -> None:
        """Show only what differs from the preset, or everything again."""
        self.only_changed = not self.only_changed
        self.refresh_fields()

    def show_problem(self) -> str:
        """Go to the first field that is wrong, out of any search; returns its key."""
        assert self.draft is not None
        key = next(iter(self.draft.problems))
        self.search, self.only_changed = "", False
        self.refresh_fields()
        self.fields.current = key if "." in key else self.fields.current
        return key

    def step_back(self) -> bool:
        """Leave the value being typed (as it was before) or the search; False where there was neither."""
        if self.editing:
            if self.draft and self.fields.field:
                self.draft.set_text(self.fields.field, self._before_edit)
            self._entry.put_away()
        elif self.search or self._searcher.asked:
            self._searcher.put_away()
            self.search = ""
        else:
            return False
        self.fields.focus()
        self.refresh_fields()
        return True
