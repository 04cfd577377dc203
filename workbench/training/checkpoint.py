"""Checkpoints: written aside, synced and renamed, so that a half-written one has no name to resume from.

A folder `checkpoint-<step>` holds the model and tokenizer as transformers writes them, the optimiser
and the random states as safetensors, and `trainer_state.json`, which is written last and lists the
size of every other file: a folder that was cut short later (a failing disk, a broken copy) shows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workbench.errors import CheckpointError, StorageError, storage_error
from workbench.models.soft_prompts.saving import PROJECTION, fold_saved
from workbench.store.files import sync_folder
from workbench.training.state import TrainState

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STATE_FILE = "trainer_state.json"
OPTIMIZER_FILE = "optimizer.safetensors"
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
TEMPORARY = ".writing-"


@dataclass
class Checkpoint:
    """A checkpoint that was found complete."""

    path: Path
    state: TrainState
    extra: dict[str, Any]

    @property
    def step(self) -> int:
        return self.state.step

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        return load_tensors(self.path / OPTIMIZER_FILE)

    def random_state(self, rank: int) -> dict[str, torch.Tensor] | None:
        """None for a rank that did not exist when the checkpoint was written."""
        path = self.path / f"random-{rank}.safetensors"
        return load_tensors(path) if path.exists() else None


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` write into a temporary folder, sync every file of it, and give it its name."""
    temporary = temporary_of(target)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        fill(temporary)
        sync(temporary)
        # What has the name already goes once the new one has it: a kill while it is deleted would leave none.
        aside = _aside(target) if target.exists() else None
        temporary.rename(target)
        sync_folder(target.parent)
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    except StorageError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk_error(error, target) from error


def temporary_of(target: Path) -> Path:
    """Where a folder is written before it gets its name."""
    return target.with_name(f"{TEMPORARY}{target.name}")


def sync(folder: Path) -> None:
    """Have everything in a folder on the disk."""
    for path in folder.rglob("*"):
        _sync(path)
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync_folder(inner)


def disk_error(error: OSError | SafetensorError, where: Path) -> StorageError:
    """safetensors reports a failed write as text; the system's number for it is in there."""
    if isinstance(error, OSError):
        return storage_error(error, where)
    text = str(error)
    for number in (28, 122, 30, 13):
        if f"os error {number}" in text:
            return storage_error(OSError(number, os.strerror(number)), where)
    return StorageError(text, where=str(where))


def _aside(path: Path) -> Path:
    """Rename a folder that is to be deleted, so that a deletion cut short leaves nothing that looks whole."""
    doomed = path.with_name(f"{TEMPORARY}deleting-{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    return path.rename(doomed)


def _sync(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def save(
    target: Path,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    random_states: Iterable[dict[str, torch.Tensor]],
    extra: dict[str, Any],
    more: Callable[[Path], None] | None = None,
    parts: Callable[[Path], None] | None = None,
) -> None:
    """Write a complete checkpoint to `target`, with what `more` writes into its folder. `parts`, if given,
    writes model and optimiser there in parts, of which this process has one.

    Raises `StorageError`; older checkpoints are untouched.
    """

    def fill(folder: Path) -> None:
        if parts is None:
            save_model(folder, model, tokenizer)
            save_file(flatten_optimizer(optimizer), folder / OPTIMIZER_FILE)
        else:
            save_settings(folder, model, tokenizer)
            parts(folder)
        if more is not None:
            more(folder)
        for rank, random_state in enumerate(random_states):
            save_file(random_state, folder / f"random-{rank}.safetensors")
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        content = {"state": state.as_dict(), "extra": extra, "files": files}
        (folder / STATE_FILE).write_text(json.dumps(content, indent=1))

    write_folder(target, fill)


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Model and tokenizer as transformers stores them."""
    model.save_pretrained(folder)
    if hasattr(model, "peft_config"):
        # PEFT names the base model, but not the labels of a head beside the adapters.
        model.get_base_model().config.save_pretrained(folder)
        fold_saved(model, folder)
    tokenizer.save_pretrained(folder)


def save_settings(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """What `save_model` writes, but for the weights."""
    if hasattr(model, "peft_config"):
        for adapter in model.peft_config.values():
            adapter.save_pretrained(folder)
        model.get_base_model().config.save_pretrained(folder)
    else:
        model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def copy_model(source: Path, target: Path) -> None:
    """Make `target` a model folder with the model of a checkpoint, and nothing of its training state."""

    def fill(folder: Path) -> None:
        for pattern in MODEL_FILES:
            for path in source.glob(pattern):
                if path.name not in (STATE_FILE, OPTIMIZER_FILE, PROJECTION) and not path.name.startswith(
                    "random-"
                ):
                    shutil.copyfile(path, folder / path.name)

    write_folder(target, fill)


def read(path: Path) -> Checkpoint:
    """Check a checkpoint folder. Raises `CheckpointError` saying which file is missing or cut short."""
    try:
        content = json.loads((path / STATE_FILE).read_bytes())
        sizes: dict[str, int] = content["files"]
        for name, size in sizes.items():
            file = path / name
            if not file.is_file():
                raise CheckpointError(f"{path.name} is incomplete: {name} is missing", where=str(path))
            if file.stat().st_size != size:
                raise CheckpointError(
                    f"{path.name} is damaged: {name} has {file.stat().st_size:,} of {size:,} bytes",
                    where=str(path),
                )
        state = TrainState.from_dict(content["state"], str(path))
        return Checkpoint(path, state, content["extra"])
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.name} is incomplete: {STATE_FILE} is missing", where=str(path)
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path.name}: {STATE_FILE} cannot be read ({error})", where=str(path)
        ) from None


def newest(folders: list[Path], warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest complete checkpoint. Damaged ones are passed over with a warning.

    Raises `CheckpointError` when there are checkpoints but none is complete, for starting over
    without being asked would throw a run away.
    """
    problem: CheckpointError | None = None
    for path in reversed(folders):
        try:
            return read(path)
        except CheckpointError as error:
            warn(f"{error.message}; looking for an older one")
            problem = problem or error
    if problem is not None:
        raise CheckpointError(
            problem.message + ", and there is no older one to resume from",
            where=problem.where,
            hint="restore the folder, or delete it to start the run over",
        )
    return None


def prune(folders: list[Path], limit: int | None, keep: set[Path]) -> None:
    """Delete the oldest checkpoints beyond `limit`, never one in `keep`."""
    if limit is None:
        return
    spare = [path for path in folders if path not in keep]
    surplus = len(folders) - max(limit, len(keep))
    for path in spare[: max(0, surplus)]:
        shutil.rmtree(_aside(path), ignore_errors=True)


def clean(run: Path) -> None:
    """Remove what a killed worker left half-written or half-deleted."""
    for path in run.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as `<parameter number>.<name>` → tensor."""
    flat: dict[str, torch.Tensor] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
            flat[f"{index}.{name}"] = tensor.detach().contiguous().cpu()
    return flat


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    """Put back what `flatten_optimizer` gave; hyper-parameters stay those of the recipe."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file on the CPU. Raises `CheckpointError` when it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}", where=str(path)) from None
