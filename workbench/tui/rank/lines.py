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
        self.call_after_refresh(self._fit_bar)

    def _fit_bar(self) -> None:
        # Where text and height change at once, the bar of the text before may stay.
        if self.is_attached:
            self.show_vertical_scrollbar = self.virtual_size.height > self.size.height

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
