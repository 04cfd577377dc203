"""Styles for widgets that draw their own lines."""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from textual.widget import Widget


def part_style(widget: Widget, name: str, base: Style) -> Style:
    """How the part `name` of a widget looks on `base`: its own colour and weight, base's background.

    The colours of a theme may be transparent, and only the full style of a part has them mixed with
    what is behind it.
    """
    return _on(widget.get_component_rich_style(name), base)


@lru_cache(maxsize=512)
def _on(full: Style, base: Style) -> Style:
    # On a reversed row a colour would be that of the background, a patch in the bar.
    return base + Style(
        color=None if base.reverse else full.color,
        bold=full.bold or None,
        italic=full.italic or None,
        dim=full.dim or None,
        underline=full.underline or None,
        strike=full.strike or None,
    )


def row_style(widget: Widget, name: str, base: Style) -> Style:
    """How a whole row looks, background and all."""
    return base + widget.get_component_rich_style(name)
