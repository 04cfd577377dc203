"""What is to be exported: a run's final model, a checkpoint, any model folder, adapters with their base."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import GenerationConfig

from workbench import paths
from workbench.errors import ModelError, RunError
from workbench.exporting.merge import merged
from workbench.exporting.tensors import HeldTensors, StoredTensors, Tensors
from workbench.inference.loading.adapters import UNMERGED
from workbench.inference.loading.places import ADAPTER, Place, find_place
from workbench.inference.loading.weights import config_of
from workbench.store.pulled import find_pulled
from workbench.store.runs import Run, find_run
from workbench.store.soft_prompts import KINDS
from workbench.store.wire import Progress
from workbench.training.checkpoint import STATE_FILE, read

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
CHECKPOINT = "checkpoint-"


@dataclass
class Source:
    """A model, its weights not yet read unless adapters were merged into them.

    `folder` holds its configuration, `tokenizer_folder` its tokenizer and chat template (adapters bring their
    own); `stored` is the type of its weights on disk; `model` is there where adapters were merged.
    """

    name: str
    folder: Path
    config: Any
    tensors: Tensors
    stored: torch.dtype
    tokenizer_folder: Path | None
    base: str | None = None
    model: Any = None

    @property
    def architecture(self) -> str:
        """The class of transformers that it is."""
        if self.model is not None:
            return type(self.model).__name__
        return str((getattr(self.config, "architectures", None) or [""])[0])

    @cached_property
    def generation(self) -> Any:
        """Its generation configuration; None where there is none."""
        if self.model is not None:
            return self.model.generation_config
        if not (self.folder / "generation_config.json").is_file():
            return None
        try:
            return GenerationConfig.from_pretrained(str(self.folder))
        except (OSError, ValueError) as error:
            where = str(self.folder / "generation_config.json")
            raise ModelError(f"it is damaged: {error}", where=where) from None

    @property
    def parameters(self) -> int:
        """Numbers in its weights; those that are shared count once."""
        if self.model is not None:
            return sum(part.numel() for part in self.model.parameters())
        return sum(torch.Size(self.tensors.shape(name)).numel() for name in self.tensors.names())


def find_source(name: str, progress: Progress) -> Source:
    """What a name means, with its adapters merged. Raises `RunError` for a run that is unknown or has no
    final model yet, `CheckpointError`, and `ModelError` for what cannot be exported."""
    place = _place(name)
    if place.gguf is not None:
        raise ModelError(
            "it is a GGUF file already",
            where=str(place.folder / place.gguf),
            hint="name what it was made from: a run, or a folder with model.safetensors",
        )
    folder = place.folder
    if (folder / STATE_FILE).is_file():
        read(folder)  # Raises where a file is missing or cut short.
    if place.is_adapter:
        return _of_adapters(folder, progress)
    config = config_of(place)
    tensors = StoredTensors(folder)
    return Source(
        name=_title(folder),
        folder=folder,
        config=config,
        tensors=tensors,
        stored=tensors.dtype,
        tokenizer_folder=folder if _has_tokenizer(folder) else None,
        base=_began_with(folder),
    )


def _of_adapters(folder: Path, progress: Progress) -> Source:
    _check_mergeable(folder)
    progress("merging adapters", 0, None)
    model, base = merged(folder)
    return Source(
        name=_title(folder),
        folder=folder,
        config=model.config,
        tensors=HeldTensors(model),
        stored=StoredTensors(base.folder).dtype,
        tokenizer_folder=next((place for place in (folder, base.folder) if _has_tokenizer(place)), None),
        base=_title(base.folder),
        model=model,
    )


def _place(name: str) -> Place:
    """As elsewhere, but a run means its final model alone, and an unknown word is no hub's name."""
    path = Path(name).expanduser()
    for run in (paths.runs_dir() / name, path):
        if (run / "status.json").is_file():
            return _final(Run(run.resolve()))
    if "/" not in name and not path.exists() and find_pulled(name) is None:
        find_run(name)  # Raises, with the nearest name.
    return find_place(name)


def _final(run: Run) -> Place:
    if run.final_path.is_dir():
        return find_place(str(run.final_path))
    kept = run.checkpoints()
    raise RunError(
        f"the run has not finished ({run.status().seen_state()}), so there is no final model",
        where=str(run.path),
        hint=f"a checkpoint will do: {kept[-1]}" if kept else f"workbench runs follow {run.name}",
    )


def _check_mergeable(folder: Path) -> None:
    """Raise `ModelError` for adapters whose work depends on the input: they cannot become weights."""
    try:
        content = orjson.loads((folder / ADAPTER).read_bytes())
        kind, base = str(content["peft_type"]), str(content["base_model_name_or_path"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{ADAPTER} is damaged: {error}", where=str(folder)) from None
    if kind in KINDS:
        raise ModelError(
            f"{KINDS[kind]} learns what stands before a prompt, not weights: it cannot be merged into the "
            "model",
            where=str(folder),
            hint="the folder is PEFT's own format, which PeftModel.from_pretrained reads; workbench serve "
            f"{base} serves it to other programs; or tune again with tuning.method=lora",
        )
    if kind in UNMERGED:
        raise ModelError(f"adapters of the kind {kind} cannot be merged into the model", where=str(folder))


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in TOKENIZER_FILES)


def _title(folder: Path) -> str:
    """A name for what a folder holds: the run's for its final model, with the step for a checkpoint; of the
    hub's cache (`models--owner--name/snapshots/commit`) the model's."""
    run = folder.parent
    if run.name == "snapshots":
        return run.parent.name.rpartition("--")[2]
    if not (run / "status.json").is_file():
        return folder.absolute().name or "model"
    step = folder.name.removeprefix(CHECKPOINT)
    return run.name if folder.name == "final" else f"{run.name}-{step}"


def _began_with(folder: Path) -> str | None:
    """The name of the model that the run of a folder began with."""
    run = Run(folder.parent)
    if not run.status_path.is_file():
        return None
    try:
        name = run.recipe().model.model_name_or_path
    except Exception:
        # A recipe that was damaged by hand: the name is a courtesy.
        return None
    return Path(name).name if name else None
