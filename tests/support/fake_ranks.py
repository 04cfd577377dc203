"""Ranks of runs that never were."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from workbench.scaling.layouts.layout import Layout
from workbench.store.ranks import FOLDER, read_ranks
from workbench.store.ranks import Rank as Rank

GB = 10**9


def write_ranks(
    run: Path,
    layout: Layout,
    *,
    per_node: int = 8,
    slow: Mapping[int, float] | None = None,
    silent: Mapping[int, float] | None = None,
    stuck: float = 0.0,
    passes: Mapping[int, int] | None = None,
    phase: str = "computing",
    busy: float | None = 0.33,
    seed: int = 5,
) -> tuple[Rank, ...]:
    """The files of all ranks of a layout; `slow` ranks take so many times the own work, `silent` ones were
    heard of so many seconds ago. All have been in their step for `stuck` seconds, and made 24 `passes`."""
    draw, now = random.Random(seed), time.time()
    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    for number in range(layout.ranks):
        factor = (slow or {}).get(number, 1.0)
        works = [None if busy is None else busy * factor * draw.uniform(0.98, 1.02) for _ in range(20)]
        node, local = divmod(number, per_node)
        value = {
            "place": {
                "rank": number,
                "world_size": layout.ranks,
                "local_rank": local,
                "host": f"gpu-{node:03}",
                "pid": 1000 + number,
                "device": f"cuda:{local} NVIDIA H100 80GB HBM3",
                "axes": layout.axes,
                "coordinates": layout.coordinates(number),
            },
            "phase": phase,
            "step": 812,
            "updated": now - (silent or {}).get(number, 0.0),
            "since": now - (silent or {}).get(number, 0.0) - stuck,
            "passes": (passes or {}).get(number, 24),
            "tokens": 4096 * 812,
            "memory": 61 * GB,
            "peak_memory": 64 * GB,
            "memory_limit": 80 * GB,
            "steps": {
                "step": list(range(793, 813)),
                "seconds": [0.41] * 20,
                "busy": works,
                "tokens": [4096] * 20,
            },
        }
        (run / FOLDER / f"rank-{number:05}.json").write_bytes(orjson.dumps(value))
    return read_ranks(run)
