"""What a pane shows is read by a source, in the polling thread; here is what all sources share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from workbench.tui.widgets.text_lines import Line


class Source(Protocol):
    """The content of one pane for one run."""

    def poll(self) -> list[Line] | None:
        """All lines to show, or None when nothing changed since the last call."""


class GrowingFile:
    """The end of a file that something is appending to, read once and never twice.

    `rest` is what stands behind the last line break: a line that is still being written.
    """

    def __init__(self, path: Path, first_bytes: int) -> None:
        """Start at most `first_bytes` before the present end of the file."""
        self.path = path
        self._first_bytes = first_bytes
        self._offset = -1
        self._identity: tuple[int, int] | None = None
        self._cut = False
        self._polled = False
        self.rest = b""

    def new_lines(self) -> tuple[list[bytes], bool] | None:
        """The whole lines that are new, and whether they replace all that were read before.

        None when nothing has changed since the last call. Raises `OSError` when the file cannot be read.
        """
        content, fresh = self._read()
        if not content and not fresh and self._polled:
            return None
        self._polled = True
        *lines, self.rest = ((b"" if fresh else self.rest) + content).split(b"\n")
        # Where reading began in the middle of the file, it began in the middle of a line.
        return lines[1:] if fresh and self._cut else lines, fresh

    def _read(self) -> tuple[bytes, bool]:
        """The bytes that are new, and whether they begin anew; a missing file is an empty one."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                fresh = identity != self._identity or status.st_size < self._offset
                if fresh:
                    self._identity = identity
                    self._offset = max(0, status.st_size - self._first_bytes)
                    self._cut = self._offset > 0
                if status.st_size == self._offset:
                    return b"", fresh
                file.seek(self._offset)
                content = file.read(max(self._first_bytes, 1 << 16))
                self._offset += len(content)
                return content, fresh
        except FileNotFoundError:
            fresh = self._identity is not None
            self._identity, self._offset = None, -1
            return b"", fresh
