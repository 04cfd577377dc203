"""A run of one process, which writes no files of ranks, as its only rank: from its status and metrics."""

from __future__ import annotations

from pathlib import Path

from workbench import paths
from workbench.store.metrics import MetricsTail
from workbench.store.ranks import STEPS_KEPT, Place, Rank
from workbench.store.runs import Run
from workbench.store.status import Status

GIB = 1024**3
PHASES = {"preparing": "preparing", "starting": "preparing", "running": "computing", "saving": "saving"}


def lone_rank(run: Run, status: Status, metrics: MetricsTail | None = None) -> Rank | None:
    """The rank; None before the run has begun. Its own work is not measured apart: it waits for nobody."""
    if status.process is None:
        return None
    tail = metrics or metrics_of(run.metrics_path)
    tail.poll()
    while tail.behind:
        tail.poll()
    steps, speeds = tail.series("tokens_per_second")
    counted, counts = tail.series("num_tokens")
    memory = tail.last("memory/gpu_gib") or tail.last("memory/cpu_gib")
    rows = []
    # Evaluations have a line of their own, with the tokens but without a speed.
    tokens_at = dict(zip(counted.tolist(), counts.tolist(), strict=True))
    if len(steps) > 1 and all(step in tokens_at for step in steps.tolist()):
        for index in range(max(1, len(steps) - STEPS_KEPT), len(steps)):
            now, before = float(steps[index]), float(steps[index - 1])
            tokens = (tokens_at[now] - tokens_at[before]) / max(now - before, 1)
            if speeds[index] > 0 and tokens > 0:
                rows.append((int(steps[index]), float(tokens / speeds[index]), None, int(tokens)))
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return Rank(
        Place(0, 1, 0, status.process.host, status.process.pid, status.device or "–"),
        PHASES.get(status.state, "ended" if status.ended else status.state),
        status.step,
        status.updated,
        status.num_tokens,
        None if memory is None else round(memory * GIB),
        None,
        None,
        *columns,
    )


def metrics_of(path: Path) -> MetricsTail:
    """The metrics of a run, to be kept and polled again."""
    return MetricsTail(path, paths.cache_dir("metrics"))
