"""What the terminal can show, judged from the environment it gives."""

from __future__ import annotations

import os
from collections.abc import Mapping


def locale_name(environment: Mapping[str, str] = os.environ) -> str:
    """The locale that decides about characters, as other programs of the terminal see it; may be empty."""
    # Python sets LC_CTYPE=C.UTF-8 itself where the locale was C or not set at all.
    by_python = environment.get("LC_CTYPE") == "C.UTF-8"
    names = ("LC_ALL", "LANG") if by_python else ("LC_ALL", "LC_CTYPE", "LANG")
    return next((environment[name] for name in names if environment.get(name)), "")


def speaks_utf8(environment: Mapping[str, str] = os.environ) -> bool | None:
    """Whether the locale promises UTF-8; None when nothing is said about it."""
    name = locale_name(environment)
    return "utf8" in name.lower().replace("-", "") if name else None


def multiplexer(environment: Mapping[str, str] = os.environ) -> str:
    """`tmux`, `screen` or nothing."""
    return "tmux" if environment.get("TMUX") else "screen" if environment.get("STY") else ""


def colors(environment: Mapping[str, str] = os.environ) -> str:
    """`none`, `16`, `256` or `truecolor`, the way Rich and Textual find out."""
    term = environment.get("TERM", "").lower()
    if environment.get("NO_COLOR") or term in ("dumb", "unknown", ""):
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    return "256" if term.endswith("256color") or term in ("xterm-kitty", "alacritty") else "16"


def symbols(environment: Mapping[str, str] = os.environ) -> str:
    """What to draw charts with: braille, or ASCII where the terminal would show something else.

    A tmux client without a UTF-8 locale turns braille into `_`; the Linux console has no glyphs for it.
    """
    if environment.get("TERM") == "linux":
        return "ascii"
    known = speaks_utf8(environment)
    if known is None:
        return "ascii" if multiplexer(environment) else "braille"
    return "braille" if known else "ascii"
