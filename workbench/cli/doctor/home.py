"""The workbench's folder: whether it can be written, how much fits, and on what kind of disk it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench import paths
from workbench.cli import render
from workbench.cli.doctor.findings import note, ok, problem

LITTLE_SPACE = 2e9
NETWORK_FILE_SYSTEMS = (
    "nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "sshfs", "glusterfs", "wekafs", "9p"
)  # fmt: skip

Row = tuple[str, str, str, str]


def check() -> Iterator[Row]:
    """The home, its free space, its file system, and what Accelerate was told."""
    home = paths.home()
    existing = nearest_folder(home)
    yield _writable(home, existing)
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        yield note("free space", f"cannot be told: {error.strerror}")
    else:
        if free < LITTLE_SPACE:
            remedy = "free some space, or choose another folder with WORKBENCH_HOME"
            yield note("free space", f"only {render.size(free)}", remedy)
        else:
            yield ok("free space", render.size(free))
    yield _file_system(existing)
    yield _accelerate()


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))


def _writable(home: Path, existing: Path) -> Row:
    remedy = "choose a folder you may write with WORKBENCH_HOME or --home"
    if not existing.is_dir():
        return problem("folder", f"{home}: {existing} is a file", remedy)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return problem("folder", f"{home} cannot be written: {error.strerror}", remedy)
    return ok("folder", str(home) if home.exists() else f"{home} (made when needed)")


def _file_system(folder: Path) -> Row:
    import psutil

    kind = file_system_of(folder, [(p.mountpoint, p.fstype) for p in psutil.disk_partitions(all=True)])
    if any(name in kind.lower() for name in NETWORK_FILE_SYSTEMS):
        return note(
            "file system",
            f"{kind}, over the network: checkpoints are slower to write",
            "set WORKBENCH_HOME to a local disk if runs need not be seen from other machines",
        )
    if kind in ("tmpfs", "ramfs"):
        return note("file system", f"{kind}: in memory, gone when the machine restarts", "set WORKBENCH_HOME")
    return ok("file system", f"{kind or 'unknown'}, local" if kind else "not known")


def file_system_of(folder: Path, mounts: list[tuple[str, str]]) -> str:
    """The kind of file system a folder is on, from (mount point, kind) pairs; empty when unknown."""
    real = folder.resolve()
    best = ("", "")
    for point, kind in mounts:
        # The last of several mounts on one point is the one that is seen.
        if real.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _accelerate() -> Row:
    base = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    config = Path(base).expanduser() / "accelerate" / "default_config.yaml"
    if config.exists():
        return note(
            "accelerate",
            f"{config} is there; the recipe's section launch says more than it does",
            "if runs behave as if configured elsewhere, move it away and try again",
        )
    return ok("accelerate", "no default configuration; recipes say all")
