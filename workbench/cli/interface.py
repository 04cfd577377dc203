"""`workbench` without a command: open the interface."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from workbench.cli.parser import Parser
from workbench.errors import TerminalError

SYMBOLS = ("braille", "block", "ascii")
COMMANDS_INSTEAD = (
    "the commands work anywhere: workbench quickstart --headless, workbench train, workbench runs, "
    "workbench recipe, workbench doctor"
)


def add_options(parser: Parser, *, root: bool = False) -> None:
    """What the interface can be told from outside, before a command or behind it."""
    parser.add_argument(
        "--no-mouse",
        action="store_true",
        default=False if root else argparse.SUPPRESS,
        help="leave the mouse to the terminal",
    )
    parser.add_argument(
        "--symbols",
        choices=SYMBOLS,
        default=None if root else argparse.SUPPRESS,
        help="what charts are drawn with; found out by itself",
    )


def run(args: argparse.Namespace) -> int:
    """Open the interface with no run selected."""
    return open_interface(args, initial_run=None)


def open_interface(args: argparse.Namespace, initial_run: str | None) -> int:
    """Open the interface, or raise `TerminalError` where there is no terminal for it."""
    check_terminal()
    from workbench.tui.app import run_app

    # Under nohup the signal is ignored, and an interface without its terminal would stay for ever.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    return run_app(initial_run=initial_run, mouse=not args.no_mouse, symbols=args.symbols)


def check_terminal() -> None:
    """Raise `TerminalError` when the interface cannot be shown here."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if not stream.isatty():
            raise TerminalError(f"the interface needs a terminal, and {name} is none", hint=COMMANDS_INSTEAD)
    if os.environ.get("TERM") == "dumb":
        raise TerminalError(
            "the interface needs a terminal that can move its cursor",
            where="TERM=dumb",
            hint=f"set TERM to what your terminal is, for example xterm-256color; {COMMANDS_INSTEAD}",
        )


def has_terminal() -> bool:
    """Whether the interface can be shown here."""
    try:
        check_terminal()
    except TerminalError:
        return False
    return True
