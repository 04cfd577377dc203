"""A small study, and its plan on disk."""

from __future__ import annotations

from typing import Any

from workbench.scaling.plan import make_plan
from workbench.scaling.spec import StudySpec, read_spec
from workbench.scaling.study_files import save_plan
from workbench.store.scaling_studies import Study, new_study

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
