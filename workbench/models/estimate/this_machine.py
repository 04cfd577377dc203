"""How fast this machine multiplies matrices: measured once in a process of its own, and remembered."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench import paths
from workbench.errors import TrainingError, storage_error
from workbench.probe import probe

PROBE_SECONDS = 180
PROBE = """
import json, torch
from workbench.training.telemetry import peak_flops
device = torch.device("cpu")
print("\\n" + json.dumps({"single": peak_flops(device, False), "half": peak_flops(device, True),
                          "threads": torch.get_num_threads()}))
"""


@dataclass(frozen=True)
class Speed:
    """FLOP/s of products of large matrices on the processor, in fp32 and in bf16, with so many threads."""

    single: float
    half: float
    threads: int


def _path() -> Path:
    # A home may be shared by several machines.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return paths.cache_dir("estimates", f"{platform.node() or 'machine'}-{cores}.json")


def known_speed() -> Speed | None:
    """What was measured on this machine before; None if nothing was."""
    try:
        return Speed(**json.loads(_path().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def measure_speed(executable: str = sys.executable) -> Speed:
    """Measure, and remember. Takes as long as torch takes to import. Raises `TrainingError`."""
    facts, reason = probe(executable, PROBE, PROBE_SECONDS)
    if facts is None:
        raise TrainingError(f"measuring failed: {reason}", hint="workbench doctor says whether torch works")
    speed = Speed(**facts)
    path = _path()
    paths.ensure_dir(path.parent)
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_text(json.dumps(asdict(speed)))
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    return speed
