"""A line to type into that waits out of sight, so that keys typed ahead of it are not lost to commands."""

from __future__ import annotations

from textual.events import Key
from textual.widgets import Input


class Prompt(Input):
    """An input of one row; `ask` shows it and takes the keys at once, `put_away` hides it.

    Mounting an input when it is asked for would take effect some messages later, and what a quick hand
    or a pasted text types meanwhile would run as commands.
    """

    DEFAULT_CSS = """
    Prompt { display: none; padding: 0 1; background: $surface; }
    Prompt.-asked { display: block; }
    """

    def __init__(self, placeholder: str, *, id: str) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False

    @property
    def asked(self) -> bool:
        """Whether it is on screen."""
        return self.has_class("-asked")

    def ask(self, value: str, placeholder: str | None = None) -> None:
        """Show it with this text, or with a `placeholder` while there is none, and give it the keys."""
        with self.prevent(Input.Changed):
            self.value = value
        if placeholder is not None:
            self.placeholder = placeholder
        self.cursor_position = len(value)
        self.add_class("-asked")
        # Not `focus()`, which waits for the next turn of the event loop.
        self.styles.display = "block"
        self.screen.set_focus(self)

    async def _on_key(self, event: Key) -> None:
        # Editing keys are bindings, which run once the key has travelled up to the app: ctrl+u would
        # delete what was typed behind it. Here they run in the order in which they were typed.
        if found := self._bindings.key_to_bindings.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(found[0].action)
        else:
            await super()._on_key(event)

    def put_away(self) -> None:
        """Hide it."""
        self.remove_class("-asked")
        self.styles.display = "none"
