"""Benchmarks are run by hand and seldom: each must still start after what it imports has moved."""

import json
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
PEERS = ("trl", "llama_cpp", "datasketch", "resvg_py", "textual_plotext")  # what README asks to install first


def test_each_benchmark_starts() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "support" / "benchmark_starts.py", TESTS / "benchmarks"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ends: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    without = {f"ModuleNotFoundError: No module named '{name}'" for name in PEERS}
    assert len(ends) > 30
    assert {file: end for file, end in ends.items() if end != "0" and end not in without} == {}
