"""Writing files so that a reader, or a machine that loses power, never sees half of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from workbench.errors import storage_error


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put `content` at `path` in one step; `durable` also waits until the disk has it.

    Raises `StorageError` when the disk refuses; what stood at `path` is then still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise storage_error(error, path) from None


def sync_folder(path: Path) -> None:
    """Make renames and removals in a folder durable; a no-op where the system cannot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse to sync a directory; the rename itself is still atomic.
        return
    finally:
        os.close(descriptor)
