"""Under torchrun: one worker a process trains several runs one after another, each by as many as it asks for.

`python -m torch.distributed.run --nproc_per_node 4 many_runs.py RUNS.json`, where RUNS.json is a list of
folders and numbers of processes. Starting a process costs seconds, and a tiny run a part of one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState, PartialState

from workbench.training import session
from workbench.training.worker import main


def work(runs: list[tuple[str, int]]) -> int:
    """Train all runs that have a place for this process; 1 as soon as one fails."""
    rank, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
    # Each run meets at a port of its own, and not in what torchrun keeps.
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    for number, (folder, world_size) in enumerate(runs):
        if rank >= world_size:
            continue
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        os.environ.update(MASTER_PORT=str(port + 1 + number), WORLD_SIZE=str(world_size))
        if main(Path(folder)):
            return 1
    return 0


if __name__ == "__main__":
    session.peak_flops = lambda device, half: 1e12  # measuring takes longer than the runs here
    code = work(json.loads(Path(sys.argv[1]).read_bytes()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
