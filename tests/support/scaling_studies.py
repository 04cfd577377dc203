"""A small study, its plan on disk, and one whose runs have all finished."""

from __future__ import annotations

import json
from typing import Any

from workbench.recipe import load
from workbench.scaling.laws import Law
from workbench.scaling.plan import make_plan
from workbench.scaling.spec import StudySpec, read_spec
from workbench.scaling.study_files import fit_study, save_plan
from workbench.store.runs import create_run
from workbench.store.scaling_studies import Study, new_study

FITS: dict[str, dict[str, Any]] = {}

LAW = Law(1.5, 60.0, 200.0, 0.35, 0.38)

TINY: dict[str, Any] = {
    "base": "nano",
    "changes": {
        "model": {"vocab_size": 512, "max_position_embeddings": 128},
        "launch": {"num_threads": 1},
    },
    "budget": {"flops": 2e13},
    "rules": {"batch_tokens": 1024, "at_width": 64, "width_exponent": -0.5},
}


def spec_of(**changes: Any) -> StudySpec:
    """The small study with some keys changed, whole sections at a time."""
    return read_spec({**TINY, **changes}, "the test")


def make_study(name: str = "tiny", **changes: Any) -> Study:
    """A planned study."""
    spec = spec_of(**changes)
    study = new_study(name)
    save_plan(study, spec, make_plan(spec, name, where=name))
    return study


def finished_study(name: str = "tiny") -> Study:
    """One whose runs ended at the losses of `LAW`, having fallen with the root of their steps; fitted."""
    study = make_study(name)
    for planned in study.plan()["runs"]:
        recipe = load("nano", [f"run.name={planned['name']}"])
        recipe.run.description = planned["description"]
        run = create_run(recipe)
        status = run.status()
        status.state, status.step = "finished", planned["steps"]
        status.num_parameters, status.num_tokens = planned["parameters"], planned["tokens"]
        status.eval_loss = float(LAW.loss(planned["parameters"], planned["tokens"]))
        status.write(run.status_path)
        with run.metrics_path.open("w") as file:
            for share in (0.25, 0.5, 0.75, 1.0):
                step = round(share * planned["steps"])
                loss = LAW.E + (status.eval_loss - LAW.E) / share**0.5
                file.write(json.dumps({"step": step, "time": 1.0, "eval_loss": loss}) + "\n")
    # Kept with it, so that predictions need no longer one; the same each time, so it is made once.
    if name not in FITS:
        FITS[name] = fit_study(study, resamples=20)
    study.write(study.fit_path, FITS[name])
    return study
