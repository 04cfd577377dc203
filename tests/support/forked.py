"""A few processes that meet over gloo, forked from this one: they need not import anything again."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from workbench.recipe import load
from workbench.training.session import make_accelerator

TIMEOUT = 900.0


def together(count: int, work: Callable[[Accelerator, Path], Any], folder: Path) -> None:
    """Have `work` done by so many processes that have met already; see `in_processes`."""

    def met(folder: Path) -> None:
        recipe = load("nano", [f"launch.num_processes={count}", "launch.device=cpu"])
        work(make_accelerator(recipe), folder)

    in_processes(count, met, folder)


def in_processes(count: int, work: Callable[[Path], Any], folder: Path) -> None:
    """Have `work` done by so many processes at once, in whose environment it stands which they are and where
    they meet; what they leave in `folder` others may read. Fails with what a process said where one has
    failed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    given = [(rank, count, port, work, folder) for rank in range(count)]
    processes = [context.Process(target=_work, args=arguments) for arguments in given]
    with warnings.catch_warnings():
        # Of threads that other tests may have left: the processes start none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    for process in processes:
        process.join(TIMEOUT)
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()
    said = [path.read_text() for path in sorted(folder.glob("failed-*.txt"))]
    assert not said, "\n".join(said)
    assert [process.exitcode for process in processes] == [0] * count


def _work(rank: int, count: int, port: int, work: Callable[[Path], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    for state in (AcceleratorState, GradientState, PartialState):
        # What the parent trained alone is not these processes' world.
        state._reset_state()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS="1",  # unset, Accelerate warns
    )
    code = 0
    try:
        work(folder)
    except BaseException:
        code = 1
        (folder / f"failed-{rank}.txt").write_text(f"process {rank}: {traceback.format_exc()}")
    # Without waiting for others, nor for what the parent would do at its end.
    os._exit(code)
