"""Split runs of a folder's model, and runs that go on: what comes of them, and who makes the whole model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked import in_processes
from safetensors.torch import load_file
from tiny_run import MakeRun, curve, mapping

from workbench.recipe import validate
from workbench.store.runs import Run, create_run
from workbench.training import session
from workbench.training.starting_model import starting_model
from workbench.training.worker import main

STEPS, HALF, PROCESSES = 4, 2, 2
SPLIT: dict[str, Any] = {
    "training__max_steps": STEPS,
    "training__save_steps": HALF,
    "training__save_total_limit": None,
    "training__sample_prompts": [],
    "launch__num_processes": PROCESSES,
    "parallel__dp_shard": PROCESSES,
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]


def train(run: Run, folder: Path) -> list[list[str]]:
    """Train by several processes; for each the states that the run was in when it made a whole model."""

    def work(folder: Path) -> None:
        made: list[str] = []
        vars(session)["peak_flops"] = lambda device, half: 1e12

        def noted(*given: Any) -> Any:
            made.append(run.status().state)
            return starting_model(*given)

        vars(session)["starting_model"] = noted
        code = main(run.path)
        (folder / f"made-{os.environ['RANK']}.json").write_text(json.dumps(made))
        assert code == 0, run.status().message

    in_processes(PROCESSES, work, folder)
    return [json.loads((folder / f"made-{rank}.json").read_bytes()) for rank in range(PROCESSES)]


def half_of(run: Run) -> Run:
    """The run as it was at its first checkpoint."""
    half = Run(run.path.with_name(f"{run.name}-half"))
    shutil.copytree(run.path, half.path)
    shutil.rmtree(half.final_path)
    shutil.rmtree(half.checkpoints()[-1])
    status = half.status()
    status.state = "stopped"
    status.write(half.status_path)
    return half


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_split_run_goes_on_and_only_one_process_reads(
    tmp_path: Path, corpus: Path, make_run: MakeRun, work: Callable[[Run], int], method: str
) -> None:
    base = make_run(training__max_steps=1, training__sample_prompts=[])
    assert work(base) == 0
    recipe = mapping(corpus, **SPLIT) | {"tuning": {"method": method}}
    recipe["model"] = {"model_name_or_path": str(base.final_path)}
    run = create_run(validate(recipe, "test"), method)
    # The main process makes it at the beginning, and at the end to put the parts together in.
    assert train(run, tmp_path) == [["preparing", "saving"], []]
    half = half_of(run)
    # Adapters stand on weights that no checkpoint has.
    before = [] if method == "full" else ["preparing"]
    assert train(half, tmp_path) == [[*before, "saving"], []]
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    ours, theirs = (load_file(each.final_path / name) for each in (half, run))
    assert ours.keys() == theirs.keys()
    assert all((weight == theirs[key]).all() for key, weight in ours.items())
    assert curve(half) == curve(run) and len(curve(run)["loss"]) == STEPS
