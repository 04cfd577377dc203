"""Bugs planted in kernels, to see that the checks catch them: a check that never fails shows nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kernel_emulator import Complaint

from workbench.paths import resources

Catcher = Literal["result", "emulator", "ThreadSanitizer"]


@dataclass(frozen=True)
class PlantedBug:
    """A text in a file of kernels/cuda that stands there once, what replaces it, and which check catches it:
    the comparison with fp64, a complaint of the emulator, or, on barriers, ThreadSanitizer too (`races`)."""

    name: str
    file: str
    original: str
    replacement: str
    caught_by: Catcher
    races: bool = False

    @property
    def row(self) -> str:
        """Its line in the table of kernels/README.md."""
        catchers = f"{self.caught_by}, ThreadSanitizer" if self.races else self.caught_by
        return f"| {self.name} | `{self.file}` | {catchers} |"


def plant(bug: PlantedBug, folder: Path) -> Path:
    """A copy of kernels/ in `folder` with the bug in it."""
    root = Path(shutil.copytree(resources("kernels"), folder / "kernels"))
    path = root / "cuda" / bug.file
    source = path.read_text()
    assert source.count(bug.original) == 1, f"{bug.name}: its text stands {source.count(bug.original)} times"
    path.write_text(source.replace(bug.original, bug.replacement))
    return root


def caught_by(check: Callable[[], None]) -> Catcher | None:
    """What `check`, a comparison with fp64 of a kernel that the emulator runs, says of it; None: nothing."""
    try:
        check()
    except Complaint as complaint:
        return "ThreadSanitizer" if "WARNING: ThreadSanitizer" in str(complaint) else "emulator"
    except AssertionError:
        return "result"
    return None


def is_listed(bug: PlantedBug) -> bool:
    """Whether the table of kernels/README.md has it, as it is."""
    return bug.row in (resources("kernels") / "README.md").read_text()
