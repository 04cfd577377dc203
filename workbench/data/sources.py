"""From what a recipe says to the files it means, and from those to a stream of documents."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from workbench.data.documents import Document, Found, Tally, cleaned
from workbench.data.opening import COMPRESSED, UTF16_MARKS, inner_suffix, open_binary, reading_error
from workbench.data.readers import FORMATS, READERS, RECORD_READERS, read_text
from workbench.data.readers.columns import names_of, text_column
from workbench.data.readers.delimited import DELIMITERS, read_delimited
from workbench.data.readers.hub import has_card, is_saved, read_hub
from workbench.data.stdlib import stdlib_files
from workbench.errors import DataError
from workbench.recipe import SourceSpec

STDLIB = "stdlib:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
NOT_DATA = ("readme", "license", "licence", "notice", "citation")
"""In a folder of records, text files with these names describe the data."""


@dataclass(frozen=True)
class Source:
    """One entry of `data.sources`, found: the files behind it, in the order they are read."""

    spec: SourceSpec
    kind: Literal["files", "dataset"]
    files: tuple[Path, ...] = ()
    folder: Path | None = None

    def signature(self) -> list[object]:
        """Changes when files that would be read may have changed; costs one `stat` a file.

        A data set of the hub has no files here: its revision is to be added.
        """
        spec = self.spec
        parts: list[object] = [self.kind, spec.text_column, spec.limit]
        if spec.columns or spec.kind:
            parts.append([spec.columns, spec.kind])
        if self.kind == "dataset":
            parts += [spec.path if self.is_remote else None, spec.config_name, spec.split]
        for path in self.files:
            try:
                status = path.stat()
            except OSError as error:
                raise reading_error(error, path) from None
            parts.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
        return parts

    @property
    def is_remote(self) -> bool:
        """Read from the Hugging Face hub."""
        return self.kind == "dataset" and self.folder is None

    def documents(self, tally: Tally) -> Iterator[Document]:
        """The documents one by one, at most `limit`; blank ones are counted in `tally` and left out."""
        found = self._from_files(tally) if self.kind == "files" else read_hub(self.spec, self.folder)
        return islice(cleaned(found, tally), self.spec.limit)

    def _from_files(self, tally: Tally) -> Iterator[Found]:
        column, names = text_column(self.spec), names_of(self.spec)
        for path in self.files:
            if names is not None and inner_suffix(path) in DELIMITERS:
                yield from read_delimited(path, column, tally, names)
            else:
                yield from READERS.get(inner_suffix(path), read_text)(path, column, tally)


def find_source(spec: SourceSpec) -> Source:
    """What `spec.path` means: see `SourceSpec.path`. Raises `DataError` when it means nothing."""
    if spec.path == STDLIB:
        return Source(spec, "files", tuple(stdlib_files()))
    path = Path(spec.path).expanduser()
    try:
        if path.is_dir():
            return _folder(spec, path)
        if path.exists():
            return Source(spec, "files", (_checked_file(path),))
    except OSError as error:
        raise reading_error(error, path) from None
    if glob.has_magic(spec.path):
        return _glob(spec, str(path))
    if _looks_local(spec.path, path) or not HUB_NAME.fullmatch(spec.path):
        raise _missing(spec, path)
    return Source(spec, "dataset")


def _checked_file(path: Path) -> Path:
    suffix = inner_suffix(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError("the file is empty", where=str(path))
    if suffix not in READERS:
        with open_binary(path) as file:
            head = file.read(8192)
        if b"\0" in head or head[:2] in UTF16_MARKS or not _is_utf8(head):
            raise DataError(
                f"“{suffix or path.name}” is no format that is read, nor does it hold UTF-8 text",
                where=str(path),
                hint=FORMATS,
            )
    return path


def _is_utf8(head: bytes) -> bool:
    # The end of the head may fall inside a character, of at most four bytes.
    return any(_decodes(head[: len(head) - back]) for back in range(4))


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _folder(spec: SourceSpec, folder: Path) -> Source:
    files = _files_below(folder)
    asks_for_part = spec.config_name is not None or spec.split != "train"
    if is_saved(folder) or has_card(folder) or asks_for_part:
        return Source(spec, "dataset", tuple(files), folder)
    readable = [path for path in files if inner_suffix(path) in READERS]
    if any(inner_suffix(path) in RECORD_READERS for path in readable):
        readable = [path for path in readable if not path.stem.lower().startswith(NOT_DATA)]
    if not readable:
        raise DataError("the folder holds no file of a format that is read", where=str(folder), hint=FORMATS)
    return Source(spec, "files", tuple(readable))


def _files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted by path; hidden ones and those of hidden folders are left out."""
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise reading_error(error, Path(error.filename or folder))

    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        # A link to a folder above would make the walk endless.
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        found += (Path(parent, name) for name in names if not name.startswith("."))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _glob(spec: SourceSpec, pattern: str) -> Source:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in matches if path.is_file()]
    if not files:
        what = "only folders" if matches else "nothing"
        raise DataError(
            f"the pattern matches {what}",
            where=str(Path(pattern).absolute()),
            hint="** goes through folders below: data/**/*.txt",
        )
    for path in files:
        if inner_suffix(path) not in READERS and path.stat().st_size:
            _checked_file(path)
    return Source(spec, "files", tuple(files))


def _looks_local(text: str, path: Path) -> bool:
    suffixes = (*READERS, *COMPRESSED)
    named_like_a_file = path.suffix.lower() in suffixes
    return (
        named_like_a_file
        or text.startswith(("/", ".", "~"))
        or text.count("/") > 1
        or ("/" in text and path.parent.is_dir())
    )


def _missing(spec: SourceSpec, path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        while not folder.parent.is_dir():
            folder = folder.parent
        near = _near(folder.name, _names(folder.parent))
        message = f"the folder “{folder}” does not exist"
        hint = f"in “{folder.parent}” there is: {near}" if near else ""
        return DataError(message, where=str(path.absolute()), hint=hint)
    near = _near(path.name, _names(folder))
    hint = f"there is: {near}" if near else f"look into “{folder.absolute()}”; formats: {FORMATS}"
    return DataError(f"“{spec.path}” does not exist", where=str(path.absolute()), hint=hint)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _near(name: str, names: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.5))
