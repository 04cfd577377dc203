"""The processes that a test has started."""

from __future__ import annotations

import psutil


def children(of: int | None = None, *, recursive: bool = False) -> list[psutil.Process]:
    """Those below this process, or below `of`, without the resource tracker that multiprocessing starts at
    its first use and keeps: which tests ran before in this process must not matter."""
    return [
        process for process in psutil.Process(of).children(recursive=recursive) if not _is_tracker(process)
    ]


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in part for part in process.cmdline())
    except psutil.Error:
        return False
