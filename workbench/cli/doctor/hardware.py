"""Cores, memory and GPUs, and what a container leaves of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from workbench.cli import render
from workbench.cli.doctor.findings import note, ok

CGROUP = Path("/sys/fs/cgroup")
LITTLE_MEMORY = 2e9

Row = tuple[str, str, str, str]


def check() -> Iterator[Row]:
    """Processor, memory, the container's limits, GPUs."""
    import platform

    import psutil

    logical, physical = psutil.cpu_count() or 1, psutil.cpu_count(logical=False)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    cores = f"{logical} logical" + (f", {physical} physical" if physical else "")
    if usable < logical:
        cores += f"; {usable} for this process"
    yield ok("cores", f"{cores} ({platform.machine()})")
    memory = psutil.virtual_memory()
    text = f"{render.size(memory.total)}, {render.size(memory.available)} free"
    if memory.available < LITTLE_MEMORY:
        yield note("memory", text, "training needs a few GB; end what you do not need")
    else:
        yield ok("memory", text)
    yield from _container(logical, memory.total)
    yield from _gpus()


def _container(cores: int, memory: int) -> Iterator[Row]:
    limit = memory_limit(CGROUP)
    if limit is not None and limit < memory:
        yield note(
            "container memory",
            f"limited to {render.size(limit)}: a worker that needs more is killed without a word",
            "raise the limit (docker run --memory, Slurm --mem) or train a smaller batch",
        )
    share = cpu_limit(CGROUP)
    if share is not None and share < cores:
        threads = max(1, int(share))
        yield note(
            "container cores",
            f"limited to {share:g} of {cores}",
            f"set launch.num_threads={threads} in recipes",
        )


def _own_group(root: Path, controller: str) -> Path:
    """The cgroup of this process: version 2, or the controller's own tree of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return root
    for line in lines:
        _, names, path = line.split(":", 2)
        if names == "" and (root / "cgroup.controllers").exists():
            group = root / path.lstrip("/")
            return group if group.is_dir() else root
        if controller in names.split(","):
            group = root / controller / path.lstrip("/")
            return group if group.is_dir() else root / controller
    return root


def _read_number(path: Path) -> float | None:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def memory_limit(root: Path) -> float | None:
    """Bytes the container may use, None without a limit."""
    own = _own_group(root, "memory")
    limits = [
        _read_number(group / name)
        for group in {own, root}
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def cpu_limit(root: Path) -> float | None:
    """Cores' worth of time the container may use, None without a limit."""
    limits = []
    for group in {_own_group(root, "cpu"), root}:
        try:
            quota, period = (group / "cpu.max").read_text().split()
            limits.append(float(quota) / float(period))
        except (OSError, ValueError):
            old_quota = _read_number(group / "cpu.cfs_quota_us")
            old_period = _read_number(group / "cpu.cfs_period_us")
            if old_quota and old_period and old_quota > 0:
                limits.append(old_quota / old_period)
    return min(limits, default=None)


def _gpus() -> Iterator[Row]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield ok("GPU", "no NVIDIA driver here")
        return
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = f"{pynvml.nvmlDeviceGetName(handle)}, driver {driver}"
            text = f"{name}, {render.size(memory.total)}, {render.size(memory.free)} free"
            busy = memory.used > memory.total / 2
            label = f"GPU {index}"
            yield (
                note(label, text, "more than half its memory is taken: nvidia-smi")
                if busy
                else ok(label, text)
            )
    finally:
        pynvml.nvmlShutdown()
