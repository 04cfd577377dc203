"""Lines of text that come and go: hidden widgets are given text too, before they have a size."""

from __future__ import annotations

from textual.strip import Strip

from workbench.tui.widgets.text_lines import TextLines


class Lines(TextLines):
    """Lines that are broken anew when they are drawn in another width than they were broken for.

    A widget is told of a new size by an event, which does not always come to one that was hidden.
    """

    DEFAULT_CSS = "Lines { scrollbar-gutter: stable; }"

    _width = 0
    _settles = False

    def _wrap(self) -> None:
        self._width = self.scrollable_content_region.width
        super()._wrap()

    def render_line(self, y: int) -> Strip:
        if self._width != self.scrollable_content_region.width and not self._settles:
            self._settles = True
            self.call_later(self._settle)
        return super().render_line(y)

    def _settle(self) -> None:
        self._settles = False
        if self._width != self.scrollable_content_region.width:
            self._wrap()
            self.refresh()
