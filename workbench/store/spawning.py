"""Starting a process that outlives whoever starts it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from workbench.errors import storage_error


def spawn(command: list[str], log: Path, *, waits_for: str, mode: int = 0o644) -> int:
    """Start a process in a session of its own, with its output at the end of `log`, made with `mode`; its id.

    Whether it lives is read from what it writes, by this process as by any other; a thread waits for it only
    so that no zombie stays behind in an interface that is open for days. Raises `StorageError`.
    """
    write_end = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            {**os.environ, "PYTHONUNBUFFERED": "1"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), write_end, mode),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise storage_error(error, log) from None
    threading.Thread(target=os.waitpid, args=(pid, 0), name=f"waits for {waits_for}", daemon=True).start()
    return pid
