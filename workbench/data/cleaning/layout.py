"""Where a cleaning keeps what, below its folder. What the interface reads is named in `store.cleaning`."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from workbench.errors import storage_error
from workbench.store.cleaning import Cleaning

AnyArray = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Layout:
    """The folder of a cleaning, as the tasks see it."""

    path: Path

    @property
    def cleaning(self) -> Cleaning:
        return Cleaning(self.path)

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def written(self) -> Path:
        """Its presence says that the result is in its place."""
        return self.path / "written"

    def work(self, *parts: str) -> Path:
        """What lies between two stages; removed when nobody needs it any more."""
        return self.path.joinpath("work", *parts)

    def logs(self, stage: str) -> Path:
        """datatrove's logs and completions of a stage."""
        return self.path / "logs" / stage

    def step(self, number: int, name: str) -> Path:
        """Counts and log of a step, one of each a shard."""
        return self.cleaning.steps_path / f"{number:02d}-{name}"


def shard_name(rank: int) -> str:
    """The files of a task."""
    return f"{rank:05d}"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write under; what was written appears at `path` when all went well, on disk and whole.

    Raises `StorageError` where the disk refuses.
    """
    # Of two nodes as well: a task may have been submitted twice.
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)


def clear_temporaries(folder: Path) -> None:
    """Remove what tasks that were killed left half written. None may be at work there."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


def write_array(path: Path, array: AnyArray) -> None:
    """Write an array, whole or not at all."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> AnyArray:
    """An array of a file, mapped into memory and not read before it is used."""
    array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def link(path: Path, target: Path) -> None:
    """The same file under another name, or a copy where there are no links."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
