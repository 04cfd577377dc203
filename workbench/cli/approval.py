"""Asking the person at the terminal whether a tool may be called."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import IO, Self

from workbench.errors import UsageError

TERMINAL = "/dev/tty"
LONGEST_ARGUMENTS = 2_000


class Approval:
    """Asks about each call on the terminal itself, so that a prompt may come through a pipe.

    The answers are yes, no (also to a line that is empty or neither), and all, which asks no more.
    """

    def __init__(self, terminal: IO[str]) -> None:
        self.terminal = terminal
        self.all = False

    @classmethod
    def open(cls) -> Approval:
        """Raises `UsageError` where there is no terminal to ask on."""
        try:
            return cls(open(TERMINAL, encoding=sys.getdefaultencoding(), errors="replace"))
        except OSError:
            raise UsageError(
                "tools are called only if you allow it, and there is no terminal to ask you on",
                where="--tools",
                hint="--yes allows all calls",
            ) from None

    async def __call__(self, name: str, arguments: str) -> bool:
        """Whether the call may be made. Cancelling leaves the terminal as it was."""
        from workbench.cli import render

        if self.all:
            return True
        shown = render.literal(render.clip(arguments, LONGEST_ARGUMENTS), keep_lines=True)
        question = f"call {render.literal(name)} {shown}\nallow it? [y]es, [n]o, [a]ll: "
        print(question, end="", file=sys.stderr, flush=True)
        word = (await self._line()).strip().lower()
        self.all = word in ("a", "all")
        return self.all or word in ("y", "yes")

    async def _line(self) -> str:
        """The next line typed. A thread would hold up the end of the program until somebody typed one."""
        loop, file = asyncio.get_running_loop(), self.terminal.fileno()
        ready = asyncio.Event()
        loop.add_reader(file, ready.set)
        try:
            await ready.wait()
            return os.read(file, 4096).decode(errors="replace")
        finally:
            loop.remove_reader(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.close()
