"""What each process of a run says of itself while it trains: its speed, how much of it is its own work,
memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil
import torch

from workbench.store.ranks import Place, RankWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from workbench.training.parallel.layout import Layout

PASSES = 3.0
"""A forward and a backward pass cost what so many forward passes do (Kaplan et al. 2020, section 2.1)."""


class RankWatch:
    """Writes `ranks/`; of a run of one process, nothing.

    A rank's own work in a step is taken from the forward passes of its layers, which, but in tensor and
    context parallelism, wait for nobody: a slow rank shows, though all steps take all ranks the same time.
    """

    def __init__(self, run: Path, layout: Layout, blocks: Sequence[nn.Module], *, recomputes: bool) -> None:
        self.device = layout.device
        self.passes = PASSES + recomputes
        self.writer: RankWriter | None = None
        self._began = self._forward = self._loading = 0.0
        self._events: list[tuple[Any, Any]] = []
        if layout.degrees.world_size == 1:
            return
        name = str(self.device)
        if self.device.type == "cuda":
            name = f"cuda:{torch.cuda.current_device()} {torch.cuda.get_device_name(self.device)}"
        place = Place.from_environment(name, layout.degrees.as_dict(), layout.coordinates)
        self.writer = RankWriter(run, place)
        for block in blocks:
            block.register_forward_pre_hook(self._enter)
            # Also after a forward that failed: what began then is not counted on.
            block.register_forward_hook(self._leave)

    def phase(self, phase: str) -> None:
        """See `RankWriter.phase`."""
        if self.writer is not None:
            self.writer.phase(phase)

    def begin(self) -> None:
        """A step begins."""
        self._began, self._forward, self._loading = time.perf_counter(), 0.0, 0.0
        self._events.clear()
        if self.writer is not None:
            self.writer.passes = 0
        self.phase("computing")

    def loaded(self) -> None:
        """The rows of the step are there; now all count what they have together."""
        self._loading = time.perf_counter() - self._began
        self.phase("waiting")

    def counted(self) -> None:
        """All others have their rows too."""
        self.phase("computing")

    def ended(self, step: int, seconds: float, tokens: int) -> None:
        """A step is over, of so many tokens of this rank."""
        if self.writer is None:
            return
        forward = self._forward
        if self._events:
            forward = sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        busy = min(self._loading + self.passes * forward, seconds)
        memory, peak, limit = self._memory()
        self.writer.step(
            step,
            seconds=seconds,
            busy_seconds=busy,
            tokens=tokens,
            memory=memory,
            peak_memory=peak,
            memory_limit=limit,
        )

    def close(self, phase: str = "ended") -> None:
        """The last word."""
        if self.writer is not None:
            self.writer.close(phase)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        if self.writer is not None:
            self.writer.passes += 1
        if self.device.type == "cuda":
            begin = torch.cuda.Event(enable_timing=True)
            begin.record()
            self._events.append((begin, torch.cuda.Event(enable_timing=True)))
        else:
            self._entered = time.perf_counter()

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        if self.device.type == "cuda":
            self._events[-1][1].record()
        else:
            self._forward += time.perf_counter() - self._entered

    def _memory(self) -> tuple[int, int, int]:
        if self.device.type == "cuda":
            return (
                torch.cuda.memory_allocated(self.device),
                torch.cuda.max_memory_allocated(self.device),
                torch.cuda.get_device_properties(self.device).total_memory,
            )
        return psutil.Process().memory_info().rss, peak_resident(), psutil.virtual_memory().total


def peak_resident() -> int:
    """The most memory that this process has held, in bytes."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The one figure that macOS gives in bytes.
    return peak if sys.platform == "darwin" else peak * 1024
