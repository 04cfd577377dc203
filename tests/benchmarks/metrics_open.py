"""Opening a long run: from the file on disk to the curve drawn, against merely parsing the lines.

    python tests/benchmarks/metrics_open.py [steps]

10^6 logged steps of six fields. "first" reads the JSONL and leaves a cache, "reopened" has the cache.
Both end with the loss drawn at 120×30, envelope and all. The three alternate in one process; the ratio
of each round is taken and the median printed, since the machine's speed drifts. CPU time. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import orjson

from workbench.store.metrics import MetricsTail, MetricsWriter
from workbench.tui.widgets.chart import SeriesStyle
from workbench.tui.widgets.chart.axes import Viewport
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.picture import draw
from workbench.tui.widgets.chart.series import Series

ROUNDS = 5


def write_run(path: Path, steps: int) -> None:
    generator = random.Random(0)
    with MetricsWriter(path) as writer:
        for step in range(1, steps + 1):
            writer.write(
                {
                    "step": step,
                    "time": 1.7e9 + step * 0.21,
                    "num_tokens": step * 4096,
                    "loss": 2 + 8 / (1 + step / 1000) + generator.gauss(0, 0.1),
                    "grad_norm": generator.random(),
                    "learning_rate": 3e-4 * (1 - step / steps),
                }
            )


def parse_lines(path: Path) -> float:
    start = time.process_time()
    with path.open("rb") as file:
        for line in file:
            orjson.loads(line)
    return time.process_time() - start


def open_and_draw(path: Path, cache: Path, slices: list[float]) -> float:
    """CPU seconds; the wall time of each slice of polling is added to `slices`."""
    start = time.process_time()
    tail = MetricsTail(path, cache)
    while True:
        slice_start = time.perf_counter()
        tail.poll()
        slices.append(time.perf_counter() - slice_start)
        if not tail.behind:
            break
    series = Series(SeriesStyle("loss"), *tail.series("loss"))
    draw({"loss": series}, Options(title="loss"), Viewport(), 120, 30)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", type=int, nargs="?", default=1_000_000)
    steps = parser.parse_args().steps
    rounds: list[tuple[float, float, float]] = []
    slices: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path, cache = Path(folder) / "metrics.jsonl", Path(folder) / "cache"
        write_run(path, steps)
        size = path.stat().st_size
        for _ in range(ROUNDS):
            shutil.rmtree(cache, ignore_errors=True)
            parsed = parse_lines(path)
            first = open_and_draw(path, cache, slices)
            reopened = open_and_draw(path, cache, [])
            rounds.append((parsed, first, reopened))
    print(
        json.dumps(
            {
                "steps": steps,
                "megabytes": round(size / 1e6, 1),
                "parse_lines_cpu_s": round(statistics.median(r[0] for r in rounds), 3),
                "first_open_cpu_s": round(statistics.median(r[1] for r in rounds), 3),
                "reopen_cpu_s": round(statistics.median(r[2] for r in rounds), 3),
                "first_open_ratio": round(statistics.median(r[1] / r[0] for r in rounds), 3),
                "reopen_ratio": round(statistics.median(r[2] / r[0] for r in rounds), 3),
                "median_slice_ms": round(statistics.median(slices) * 1e3, 1),
                "target": {"first_open_ratio": 2.0, "reopen_ratio": 0.3},
            }
        )
    )


if __name__ == "__main__":
    main()
