"""Where prompts are written: several lines, one slot at a time; enter sends what is one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Key, Paste
from textual.message import Message
from textual.widget import Widget
from textual.widgets import TextArea

from workbench.tui.commands import Command, bindings
from workbench.tui.playground.writing import Writing
from workbench.tui.text import reveal_control
from workbench.tui.widgets.styles import part_style

FEWEST, MOST = 2, 12
Act: TypeAlias = Callable[[str, int], None]
"""Does what a key means beside the text: send, leave, answer, turn, page or recall, by how much."""

PLACEHOLDERS = {
    "input": "enter to write; then enter sends, ctrl+o makes a new line, esc leaves",
    "variable": "empty",
    "system": "empty: no system message",
}


class Area(TextArea):
    """The text of one slot. What would steer a terminal is shown as pictures, and kept as it is."""

    HELP_TITLE = "Writing"
    BINDINGS = bindings(
        Command("write.send", "ctrl+j,f5", "send", "send", "Send it; so does enter in a single line."),
        Command("write.newline", "ctrl+o,alt+enter", "newline", "new line", "Begin a new line."),
        Command("write.next", "tab", "turn(1)", "next field", "Go to the next field of the prompt."),
        Command("write.before", "shift+tab", "turn(-1)", "before", "Go to the field before.", footer=False),
        Command("write.answer", "ctrl+t", "answer", "to the answer", "Go to the answer, and let it go on."),
        Command("write.leave", "escape", "leave", "stop", "Cancel the answer, or stop writing."),
        Command("write.page_up", "pageup", "page(-1)", "page up", "Scroll the answer up.", footer=False),
        Command("write.page_down", "pagedown", "page(1)", "down", "Scroll the answer down.", footer=False),
    )

    def __init__(self, act: Act) -> None:
        """`act` does at once what concerns more than the text."""
        super().__init__(compact=True, highlight_cursor_line=False)
        self.cursor_blink = False
        self.recalled = ""
        """What was sent before and is here again, as long as nothing in it is changed."""
        self._act = act

    def get_line(self, line_index: int) -> Text:
        """See `TextArea`; one character for one, so that the cursor stands where it seems to."""
        return Text(reveal_control(self.document.get_line(line_index)), end="", no_wrap=True)

    async def _on_key(self, event: Key) -> None:
        if event.key == "enter" and self.document.line_count == 1:
            event.stop()
            event.prevent_default()
            if self.text.endswith("\\"):
                self.text = self.text[:-1] + "\n"
                self.move_cursor(self.document.end)
            else:
                self.action_send()
        elif event.key == "up" and self.cursor_location[0] == 0 and self.text in ("", self.recalled):
            event.stop()
            event.prevent_default()
            self._act("recall", 1)
        elif event.key == "down" and not self.text:
            event.stop()
            event.prevent_default()
            self.action_answer()
        elif found := self._bindings.key_to_bindings.get(event.key):
            # Bindings run once the key has travelled up to the app, when what was typed behind it is there
            # already. Here they run in the order in which they were typed.
            event.stop()
            event.prevent_default()
            await self.run_action(found[0].action)
        else:
            await super()._on_key(event)

    def action_send(self) -> None:
        self._act("send", 0)

    def action_leave(self) -> None:
        self._act("leave", 0)

    def action_answer(self) -> None:
        self._act("answer", 0)

    def action_newline(self) -> None:
        self.insert("\n")

    def action_turn(self, by: int) -> None:
        self._act("turn", by)

    def action_page(self, by: int) -> None:
        self._act("page", by)


class SlotStrip(Widget):
    """The fields of the prompt, the one being written marked, and what the prompt is."""

    DEFAULT_CSS = """
    SlotStrip { height: 1; background: $panel; color: $text-muted; }
    SlotStrip > .slot-strip--active { color: $text-primary; text-style: bold; }
    SlotStrip > .slot-strip--missing { color: $text-warning; }
    SlotStrip:nocolor > .slot-strip--active { text-style: bold underline; }
    """
    COMPONENT_CLASSES = {"slot-strip--active", "slot-strip--missing"}

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing
        self._shown: object = None

    def mark(self) -> None:
        """Draw it anew where that makes a difference, which with most keys it does not."""
        writing = self.writing
        slots = [(slot.name, slot.text == slot.usual, bool(slot.text.strip())) for slot in writing.slots]
        shown = (slots, writing.current, writing.goes_on, writing.name)
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render(self) -> Text:
        writing, base = self.writing, self.rich_style
        text = Text(no_wrap=True, end="")
        for number, slot in enumerate(writing.slots):
            active = number == writing.current
            style = part_style(self, "slot-strip--active", base) if active else base
            if slot.required and not slot.text.strip() and not active:
                style = part_style(self, "slot-strip--missing", base)
            changed = "" if slot.text == slot.usual or slot.kind == "input" else "*"
            text.append(f" {reveal_control(slot.name)}{changed} ", style)
        about = reveal_control(writing.slot.about)
        mode = "goes on" if writing.goes_on else "anew each time"
        right = f"{reveal_control(writing.name) or 'free text'} · {mode} "
        room = self.size.width - len(text) - len(right)
        if about and len(about) + 3 < room:
            text.append(f" {about}", base)
        text.append(" " * max(0, self.size.width - len(text) - len(right)) + right)
        text.truncate(self.size.width)
        return text


class PromptEditor(Container):
    """Writes in the slots of a `Writing`; as high as its text, within bounds."""

    DEFAULT_CSS = """
    PromptEditor { height: auto; dock: bottom; }
    PromptEditor Area { height: 2; padding: 0 1; background: $background; scrollbar-size-vertical: 1; }
    PromptEditor Area:focus { background: $surface; }
    PromptEditor Area:ansi:focus { background: ansi_default; }
    """

    class Changed(Message):
        """What is written is another."""

    def __init__(self, writing: Writing, act: Act) -> None:
        super().__init__()
        self.writing = writing
        self.most = MOST
        self._act = act

    def compose(self) -> ComposeResult:
        yield SlotStrip(self.writing)
        yield Area(self._do)

    def on_mount(self) -> None:
        self.show()

    @property
    def area(self) -> Area:
        """The text."""
        return self.query_one(Area)

    @property
    def active(self) -> bool:
        """Whether one is writing."""
        return self.app.focused is self.area

    def show(self) -> None:
        """Show the current slot."""
        slot, area = self.writing.slot, self.area
        area.placeholder = PLACEHOLDERS[slot.kind]
        if area.text != slot.text:
            with self.prevent(TextArea.Changed):
                area.text = slot.text
            area.move_cursor(area.document.end)
        self._fit()
        self.query_one(SlotStrip).mark()

    def _do(self, what: str, by: int) -> None:
        # The message that the text has changed may still be on its way.
        self.writing.slot.text = self.area.text
        self._act(what, by)

    def write(self) -> None:
        """Take the keys, at once."""
        self.screen.set_focus(self.area)

    def paste(self, event: Paste) -> None:
        """Take a text that was pasted while one was not writing."""
        self.write()
        self.area.insert(event.text)

    @on(TextArea.Changed)
    def _typed(self, message: TextArea.Changed) -> None:
        message.stop()
        self.writing.slot.text = self.area.text
        self._fit()
        self.query_one(SlotStrip).mark()
        self.post_message(self.Changed())

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        rows = self.area.wrapped_document.height if self.area.size.width else 1
        self.area.styles.height = min(max(rows, FEWEST), self.most)
