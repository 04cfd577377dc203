"""`?`: every key there is, grouped by where it works, with the name `keys.yaml` knows it by."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from workbench.tui.commands import Command, bindings
from workbench.tui.settings import keys_path
from workbench.tui.widgets.text_lines import Line, TextLines, plain


class HelpScreen(ModalScreen[None]):
    """The keys of a screen, collected from whatever is on it."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > #help-title, HelpScreen > TextLines { width: 96; max-width: 100%; }
    HelpScreen > #help-title { background: $primary; color: $text; text-style: bold; padding: 0 1; }
    HelpScreen:ansi > #help-title { background: ansi_blue; color: ansi_bright_white; }
    HelpScreen:nocolor > #help-title { text-style: bold reverse; }
    HelpScreen > TextLines { height: auto; max-height: 100%; background: $surface; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("help.close", "escape,q,question_mark", "dismiss", "close", "Close the help.")
    )

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        yield Static(
            "Keys                                esc closes, ↑↓ scroll", id="help-title", markup=False
        )
        yield TextLines()

    def on_mount(self) -> None:
        lines = self.query_one(TextLines)
        content = list(self._lines())
        lines.styles.height = min(len(content), max(1, self.app.size.height - 2))
        lines.set_lines(content)
        lines.focus()

    @property
    def _words_width(self) -> int:
        return min(56, max(44, self.app.size.width - 40))

    def _lines(self) -> list[Line]:
        seen: set[str] = set()
        lines: list[Line] = []
        for title, node in self._scopes():
            rows = [
                (", ".join(keys), binding) for keys, binding in self._keys_of(node) if binding.id not in seen
            ]
            if not rows:
                continue
            seen.update(str(binding.id) for _, binding in rows)
            lines += [plain(""), plain(title, "title")] if lines else [plain(title, "title")]
            for keys_text, binding in rows:
                words = binding.tooltip or binding.description
                lines.append(
                    (
                        (f"  {keys_text:<11} ", "key"),
                        (f"{words:<{self._words_width}} ", ""),
                        (binding.id or "", "dim"),
                    )
                )
        lines += [
            plain(""),
            plain(f"Other keys: write lines of “name: key” into {keys_path()}", "dim"),
        ]
        return lines

    def _scopes(self) -> list[tuple[str, DOMNode]]:
        """(title, node) of everything with keys: what has the focus first, the app last."""
        focused = self._about.focused
        nodes: list[DOMNode] = list(focused.ancestors_with_self) if focused else [self._about, self.app]
        nodes[-2:-2] = [node for node in self._about.query("*") if node.display and node not in nodes]
        scopes, classes = [], set()
        for node in nodes:
            title = getattr(node, "HELP_TITLE", "") or _title_of(node)
            if title and type(node) not in classes:
                classes.add(type(node))
                scopes.append((title, node))
        return scopes

    def _keys_of(self, node: DOMNode) -> list[tuple[list[str], Binding]]:
        keymap: dict[str, str] = getattr(self.app, "keymap", {})
        found: dict[str, tuple[list[str], Binding]] = {}
        for _, binding in node._bindings:
            # What a widget inherits without a name (scrolling) is what any terminal user expects.
            if binding.system or not binding.id or not binding.description:
                continue
            name = binding.id
            if binding.id in keymap:
                found[name] = (keymap[binding.id].split(","), binding)
            else:
                found.setdefault(name, ([], binding))[0].append(self.app.get_key_display(binding))
        return list(found.values())


def _title_of(node: DOMNode) -> str:
    """A title for widgets that name none but have keys with ids, such as the chart."""
    named = any(binding.id and binding.description for _, binding in node._bindings)
    return type(node).__name__ if named else ""
