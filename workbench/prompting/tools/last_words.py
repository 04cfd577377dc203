"""The end of what a program writes on standard error, kept so that it can be quoted when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from types import TracebackType
from typing import Self

BYTES = 4_000
LINES = 5
LINE_CHARACTERS = 200


class LastWords:
    """A pipe whose writing end, `file`, a program gets; only the end of what comes through is kept."""

    def __enter__(self) -> Self:
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self.file = os.fdopen(writing, "w")
        self._loop.add_reader(self._reading, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self._read()
        self._loop.remove_reader(self._reading)
        os.close(self._reading)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._reading, 65_536)
            self._kept = (self._kept + piece)[-BYTES:]
            if not piece:
                self._loop.remove_reader(self._reading)

    def text(self) -> str:
        """The last lines, without anything a terminal would obey."""
        lines = self._kept.decode(errors="replace").splitlines()
        return "\n".join([line for line in map(one_line, lines) if line][-LINES:])


def one_line(text: str) -> str:
    """A stranger's text on one line of bounded length, without control characters."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
