"""Folders that are expensive to make: made once, complete or not there, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import orjson

from workbench.data.ticker import WAITING, Progress
from workbench.errors import storage_error
from workbench.paths import ensure_dir

META = "meta.json"
LOCKS = ".locks"
UNFINISHED = ".unfinished-"
POLL = 0.1


def key_of(*parts: object) -> str:
    """A name for whatever follows from `parts`, which JSON can hold."""
    return blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def build_once(
    target: Path, build: Callable[[Path], None], is_sound: Callable[[Path], bool], progress: Progress
) -> bool:
    """Make the folder `target` by `build(folder)` unless a sound one is there; says whether it was made.

    `build` fills a folder under a temporary name, which is synced and renamed at the end: a process
    killed midway leaves nothing that could be taken for complete. Of two processes at it, the second
    waits and takes what the first made. Raises `StorageError` when the disk refuses.
    """
    if is_sound(target):
        return False
    parent = ensure_dir(target.parent)
    try:
        with _locked(parent, target.name, progress):
            if is_sound(target):
                return False
            _sweep(parent, target.name)
            shutil.rmtree(target, ignore_errors=True)
            folder = parent / f"{UNFINISHED}{target.name}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                build(folder)
                _sync_all(folder)
                folder.rename(target)
                _sync(parent)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise storage_error(error, target) from None
    return True


def write_meta(folder: Path, meta: dict[str, object]) -> None:
    """Write what is known about an artifact beside it; the last file of a build."""
    (folder / META).write_bytes(orjson.dumps(meta, option=orjson.OPT_INDENT_2))


def read_meta(folder: Path) -> dict[str, object] | None:
    """What `write_meta` wrote, or None where there is no sound artifact."""
    try:
        meta = orjson.loads((folder / META).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return meta if isinstance(meta, dict) else None


@contextmanager
def _locked(parent: Path, name: str, progress: Progress) -> Iterator[None]:
    # The lock file stays: removing it while another process waits on it would let two of them in.
    path = ensure_dir(parent / LOCKS) / name
    with path.open("ab") as file:
        waited = 0.0
        while not _try_lock(file.fileno()):
            if waited % 0.5 < POLL:
                progress(WAITING, 0, None)
            time.sleep(POLL)
            waited += POLL
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(parent: Path, own: str) -> None:
    """Remove what killed builds left, of any artifact that nobody builds now."""
    for folder in parent.glob(f"{UNFINISHED}*"):
        name = folder.name.removeprefix(UNFINISHED)
        if name == own:
            continue
        with (ensure_dir(parent / LOCKS) / name).open("ab") as file:
            if _try_lock(file.fileno()):
                shutil.rmtree(folder, ignore_errors=True)


def _sync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
        # Some network file systems refuse to sync a directory; the rename itself is still atomic.
    finally:
        os.close(descriptor)
