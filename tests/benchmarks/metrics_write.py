"""What logging one step costs a training loop: one record of nine fields, one write().

    python tests/benchmarks/metrics_write.py [records]

Prints JSON: CPU and wall microseconds a record, and CPU of the same through json and a buffered file
that is flushed, as loops usually do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from workbench.store.metrics import MetricsWriter


def record(step: int) -> dict[str, float | int]:
    return {
        "step": step,
        "time": time.time(),
        "num_tokens": step * 4096,
        "epoch": step / 1000,
        "loss": 2.5 + 1 / (step + 1),
        "grad_norm": 0.731,
        "learning_rate": 3e-4,
        "tokens_per_second": 12345.6,
        "mfu": 0.412,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=int, nargs="?", default=200_000)
    count = parser.parse_args().records
    records = [record(step) for step in range(1000)]
    ours: list[float] = []
    wall: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(3):
            with MetricsWriter(Path(folder) / f"ours-{repeat}.jsonl") as writer:
                start, start_wall = time.process_time(), time.perf_counter()
                for step in range(count):
                    writer.write(records[step % 1000])
                ours.append((time.process_time() - start) / count * 1e6)
                wall.append((time.perf_counter() - start_wall) / count * 1e6)
            with (Path(folder) / f"plain-{repeat}.jsonl").open("a") as file:
                start = time.process_time()
                for step in range(count):
                    file.write(json.dumps(records[step % 1000]) + "\n")
                    file.flush()
                plain.append((time.process_time() - start) / count * 1e6)
    print(
        json.dumps(
            {
                "records": count,
                "cpu_us_per_record": round(min(ours), 2),
                "wall_us_per_record": round(min(wall), 2),
                "json_and_flush_cpu_us_per_record": round(min(plain), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
