"""A folder that is written aside, synced and renamed: it is whole, or it is not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
from safetensors import SafetensorError

from workbench.errors import StorageError
from workbench.store.files import sync_folder
from workbench.store.wire import Progress
from workbench.training.checkpoint import disk_error

MANIFEST = "workbench-export.json"
"""Says what an export holds; only a folder with this file in it, and nothing that it does not name, is
ever replaced."""
BLOCK = 1 << 22
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""How numpy says that a disk is full."""


@contextmanager
def written_aside(target: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `target` to write into, which takes its name at the end of the block.

    Whatever ends the block early takes the folder away and leaves what stood at `target`. Raises
    `StorageError` when the target is taken, or the disk refuses.
    """
    check_free(target, force=force)
    temporary = target.with_name(f".writing-{target.name}-{os.getpid()}")
    try:
        with _in_words(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clean(target)
            temporary.mkdir()
            yield temporary
            _sync(temporary)
            _put(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _in_words(target: Path) -> Iterator[None]:
    """Whatever the disk refuses is a `StorageError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, SafetensorError) as error:
        raise _refused(error, target) from error


def _refused(error: OSError | SafetensorError, target: Path) -> StorageError:
    """The disk's refusal; what helps is another folder, wherever the workbench's own is."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StorageError(
            "a file stands where a folder is needed", where=str(error.filename or target), hint="name another"
        )
    if isinstance(error, OSError) and SHORT_WRITE.search(str(error)):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    known = disk_error(error, target)
    if known.hint:
        known.hint = "free some space, or name a folder on another disk, one that you may write"
    return known


def check_free(target: Path, *, force: bool) -> None:
    """Raise `StorageError` unless `target` is not there, is empty, or is an export that may be replaced."""
    with _in_words(target):
        if target.exists() and not target.is_dir():
            raise NotADirectoryError
        found = {path.name for path in target.iterdir()} if target.exists() else set()
    if not found:
        return
    others = sorted(found - _named(target))
    if others:
        raise StorageError(
            f"the folder holds what no export has put there: {', '.join(others[:3])}",
            where=str(target),
            hint="name an empty folder, or one that is not there yet",
        )
    if not force:
        raise StorageError(
            "there is an export already",
            where=str(target),
            hint="--force replaces it; or name another folder",
        )


def _named(folder: Path) -> set[str]:
    """What the folder's manifest names, and the manifest; nothing without one."""
    try:
        files = orjson.loads((folder / MANIFEST).read_bytes())["files"]
        return {MANIFEST, *(str(file["name"]).partition("/")[0] for file in files)}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return set()


def describe(folder: Path, about: dict[str, Any], progress: Progress) -> list[dict[str, Any]]:
    """Name, size in bytes and SHA-256 of every file; written down in the folder together with `about`."""
    files = []
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, path in enumerate(paths):
        progress("checksums", number, len(paths))
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        name = path.relative_to(folder).as_posix()
        files.append({"name": name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()})
    content = orjson.dumps({**about, "files": files}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / MANIFEST).write_bytes(content)
    # Weights come readable by their owner alone from safetensors, whatever the user's mask.
    for path in paths:
        path.chmod((folder / MANIFEST).stat().st_mode)
    return files


def check_room(target: Path, needed: int) -> None:
    """Raise `StorageError` where the disk has not `needed` bytes free, before an hour is spent on it."""
    place = target
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StorageError(
            f"the disk is too full: about {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free",
            where=str(target),
            hint="free some space, name a folder on another disk, or take a smaller --dtype",
        )


def _clean(target: Path) -> None:
    """Take away what a killed export of the same name left behind."""
    for path in target.parent.glob(f".writing-{target.name}-*"):
        number = path.name.rpartition("-")[2]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def _put(temporary: Path, target: Path) -> None:
    """Give the folder its name; an older one stands until the new one can take its place."""
    old = target.with_name(f".writing-{target.name}-old-{os.getpid()}")
    replaced = target.exists() and any(target.iterdir())
    if replaced:
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        if replaced:
            with contextlib.suppress(OSError):
                old.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
