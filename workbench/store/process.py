"""Telling whether the very process that wrote a status is still there.

A process id alone is not enough: ids are used again, after a reboot at the latest. So a process is
known by its id, its start time, the boot it belongs to and the host it runs on.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Liveness = Literal["alive", "gone", "elsewhere"]


@dataclass(frozen=True)
class ProcessIdentity:
    """Enough to recognise one process: `start` is in ticks of the machine it runs on."""

    pid: int
    start: float
    boot: str
    host: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """The process that calls this."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """A process of this machine; one that is `gone` where there is none."""
        return cls(pid, _start_time(pid) or 0.0, boot_id(), socket.gethostname())

    def liveness(self) -> Liveness:
        """`elsewhere` when it ran on another host, where this one cannot look."""
        if self.host != socket.gethostname():
            return "elsewhere"
        if self.boot != boot_id():
            return "gone"
        return "alive" if _start_time(self.pid) == self.start else "gone"


def boot_id() -> str:
    """A word that changes when the machine starts anew."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(int(psutil.boot_time()))


def _start_time(pid: int) -> float | None:
    """When a process started, or None when there is none or only its zombie is left."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _start_time_portable(pid)
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything, brackets and blanks too.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else float(fields[19])


def _start_time_portable(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
