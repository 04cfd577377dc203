"""Which files a folder holds for reading, and which it holds that are left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from workbench.errors import DataError

NEVER = ("__pycache__", "node_modules")
LINK = "it is a link; name what it leads to as a source of its own"


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SourceFile:
    """A file to read; `name` is its path below the folder it was found in, with forward slashes."""

    path: Path
    name: str


@dataclass
class Found:
    """What a walk came upon, each list in order of paths."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def find_files(sources: Sequence[Path], exclude: Sequence[str], maximum_bytes: int) -> Found:
    """All files in the folders `sources`, and those named themselves.

    Left out without a word: what is hidden, and what `exclude` matches (shell patterns, for a name or for a
    path below the folder). Listed as skipped: links, which could lead anywhere or in circles, what is no
    plain file, what is larger than `maximum_bytes`. Raises `DataError` for a source that is not there.
    """
    found = Found()
    for source in sources:
        if not source.exists():
            raise DataError(
                "there is no such file or folder", where=str(source), hint="name a folder or files to read"
            )
        entries = (
            _walk(source, exclude, found) if source.is_dir() else iter([(source.resolve(), source.name)])
        )
        for path, name in entries:
            reason = _reason_against(path, maximum_bytes)
            if reason:
                found.skipped.append(Skipped(_printable(path), reason))
            else:
                found.files.append(SourceFile(path, name))
    found.files = list({file.path: file for file in sorted(found.files, key=lambda file: file.path)}.values())
    found.skipped.sort(key=lambda skipped: skipped.path)
    return found


def _walk(folder: Path, exclude: Sequence[str], found: Found) -> Iterator[tuple[Path, str]]:
    def unreadable(error: OSError) -> None:
        found.skipped.append(Skipped(str(error.filename), error.strerror or "it cannot be read"))

    for top, folders, files in os.walk(folder, onerror=unreadable):
        below = Path(top).relative_to(folder)
        kept = []
        for name in sorted(folders):
            if _is_left_out(name, below, exclude):
                continue
            if (Path(top) / name).is_symlink():
                found.skipped.append(Skipped(_printable(Path(top) / name), LINK))
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            if not _is_left_out(name, below, exclude):
                yield Path(top) / name, (below / name).as_posix()


def _is_left_out(name: str, below: Path, exclude: Sequence[str]) -> bool:
    path = (below / name).as_posix()
    return (
        name.startswith(".")
        or name in NEVER
        or any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in exclude)
    )


def _reason_against(path: Path, maximum_bytes: int) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return error.strerror or "it cannot be read"
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if not stat.S_ISREG(status.st_mode):
        return "it is no plain file"
    if status.st_size == 0:
        return "it is empty"
    if status.st_size > maximum_bytes:
        return f"it has {status.st_size:,} bytes, and {maximum_bytes:,} is the bound"
    if _printable(path) != str(path):
        return "its name is not UTF-8"
    return ""


def _printable(path: Path) -> str:
    return os.fsencode(path).decode(errors="replace")
