"""Soft prompts that runs have learnt, as they lie on disk: found by the model that they are for. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from workbench.store.pulled import find_pulled
from workbench.store.runs import list_runs

CONFIG = "adapter_config.json"
KINDS = {"PROMPT_TUNING": "prompt tuning", "P_TUNING": "p-tuning", "PREFIX_TUNING": "prefix tuning"}
"""What PEFT calls them, and what people do."""


@dataclass(frozen=True)
class SavedSoftPrompt:
    """A folder with a soft prompt, and what its configuration says."""

    name: str
    folder: Path
    kind: str
    length: int
    base: str


def read_saved(folder: Path, name: str) -> SavedSoftPrompt | None:
    """The soft prompt in a folder of PEFT's; None where there is none, or something else."""
    try:
        told = json.loads((folder / CONFIG).read_bytes())
        kind, length = KINDS[told["peft_type"]], int(told["num_virtual_tokens"])
        return SavedSoftPrompt(name, folder, kind, length, str(told["base_model_name_or_path"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def of_runs(model: Path | str) -> list[SavedSoftPrompt]:
    """The soft prompts of runs that were tuned on a model, given by its folder or hub name; newest first."""
    found = (read_saved(run.final_path, run.name) for run in list_runs())
    return [one for one in found if one is not None and _is_same(one.base, model)]


def _is_same(base: str, model: Path | str) -> bool:
    """Whether two names mean one model: alike, one folder, or a fetched model and its name on the hub."""
    if base == str(model):
        return True
    first, second = _folder(base), _folder(str(model))
    return first is not None and first == second


def _folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    place = path if path.exists() else find_pulled(path.name)
    return place.resolve() if place is not None else None
