"""Under torchrun: one worker a process trains several runs one after another, each by as many as it asks for.

`python -m torch.distributed.run --nproc_per_node N many_runs.py RUNS.json`, where RUNS.json is a list of
folders and numbers of processes. Starting a process costs seconds, and a tiny run a part of one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from accelerate.state import AcceleratorState, GradientState, PartialState

from workbench.store.runs import Run
from workbench.training import session
from workbench.training.worker import main


def work(runs: list[tuple[str, int, str | None]]) -> int:
    """Train all runs that have a place for this process; 1 as soon as one fails. A third entry is a run that
    is gone on with: see `half_of`."""
    rank, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
    # Each run meets at a port of its own, and not in what torchrun keeps.
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    for number, (folder, world_size, source) in enumerate(runs):
        if rank >= world_size:
            continue
        if source is not None:
            if rank == 0:
                half_of(Path(source), Path(folder))
            while not Path(f"{folder}.ready").exists():
                time.sleep(0.05)
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        os.environ.update(MASTER_PORT=str(port + 1 + number), WORLD_SIZE=str(world_size))
        if main(Path(folder)):
            return 1
    return 0


def half_of(source: Path, target: Path) -> None:
    """A copy of a run as it was at its first checkpoint, with the recipe that lies beside it."""
    shutil.copytree(source, target)
    shutil.rmtree(target / "final")
    run = Run(target)
    shutil.rmtree(run.checkpoints()[-1])
    shutil.copyfile(f"{target}.yaml", run.recipe_path)
    status = run.status()
    status.state = "stopped"
    status.write(run.status_path)
    Path(f"{target}.ready").touch()


if __name__ == "__main__":
    # Measuring takes longer than the runs here.
    vars(session)["peak_flops"] = lambda device, half: 1e12
    code = work(json.loads(Path(sys.argv[1]).read_bytes()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
