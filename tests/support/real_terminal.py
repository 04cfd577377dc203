"""The interface in a real terminal: bytes in, bytes out, read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable

import pyte

LIMIT = 20.0


class Terminal:
    """`python -m workbench` in a pseudo-terminal that is its controlling one, as under ssh."""

    def __init__(self, columns: int = 80, rows: int = 24, **environment: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "workbench"], {**os.environ, **environment})
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def send(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def read(self, seconds: float) -> bytes:
        """What is written within some time; returns at the first bytes."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:
            return b""
        self.raw += data
        # pyte takes the private form of a colour query for a colour; no terminal shows it.
        self.stream.feed(data.replace(b"\x1b[>", b"\x1b[?"))
        return data

    def until(self, condition: Callable[[str], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition(self.text):
            assert time.monotonic() < deadline, f"never seen: {what}\n{self.text}"
            self.read(0.1)

    def see(self, words: str) -> None:
        self.until(lambda text: words in text, words)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def wait_for_end(self) -> int:
        """The exit status, or minus the signal."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if self.terminal >= 0:
                self.read(0.05)
        raise AssertionError("the interface did not end")

    def hang_up(self) -> None:
        os.close(self.terminal)
        self.terminal = -1

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.terminal >= 0:
            os.close(self.terminal)
