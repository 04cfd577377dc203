"""Model and optimiser of a split model on disk, by torch's distributed checkpointing: each rank writes its
part.

Everything is stored under its name in the whole model, so that any layout reads what any other wrote, and one
process too: `model.<weight>`, and `optimizer.<weight>.<state>`.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load as read_parts
from torch.distributed.checkpoint.state_dict_saver import save as write_parts

from workbench.errors import CheckpointError, StorageError, storage_error
from workbench.training.checkpoint import save_model, write_folder
from workbench.training.parallel.parts import Source, send
from workbench.training.parallel.stepper import persistent_buffers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from workbench.training.parallel.layout import Layout
    from workbench.training.parallel.stepper import Stepper

FOLDER = "distributed"
"""In a checkpoint's folder; its presence says that model and optimiser are in it."""
MODEL, OPTIMIZER = "model.", "optimizer."


def is_sharded(checkpoint: Path) -> bool:
    """Whether a checkpoint was written by a split model."""
    return (checkpoint / FOLDER).is_dir()


def save(folder: Path, stepper: Stepper, optimizer: torch.optim.Optimizer, *, adapters: bool) -> None:
    """Write this rank's part into `folder`; all ranks call it. Of a model with adapters only what learns.

    Raises `StorageError` on all ranks where one of them cannot write.
    """
    weights = stepper.weights
    state: dict[str, Any] = {}
    for name, weight in weights.items():
        if weight.requires_grad or not adapters:
            state[MODEL + name] = weight.detach()
        for key, value in optimizer.state.get(weight, {}).items():
            state[f"{OPTIMIZER}{name}.{key}"] = value
    if not adapters:
        state |= {MODEL + name: tensor for name, tensor in stepper.buffers().items()}
    try:
        with _quietly():
            write_parts(state, checkpoint_id=str(folder))
    except CheckpointException as error:
        # No `Exception` of Python's: it would pass by all who tell of errors.
        raise _unwritten(error, folder) from None


def _unwritten(error: CheckpointException, folder: Path) -> StorageError:
    """What kept the first rank that failed from writing its part."""
    rank, (cause, _) = min(error.failures.items(), key=lambda failure: failure[0])
    if isinstance(cause, OSError):
        return storage_error(cause, folder)
    return StorageError(f"rank {rank} could not write its part: {cause}", where=str(folder))


def load(
    checkpoint: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
    *,
    alone: bool = False,
    complete: bool = False,
) -> None:
    """Read the values of `weights`, by their names in the whole model, and their optimiser states, in place;
    each rank reads what it has, all together, or this one `alone`. What does not learn may be missing, unless
    the checkpoint is to be `complete`. Raises `CheckpointError` where it is another model's, or damaged."""
    folder = checkpoint / FOLDER
    try:
        stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    except (OSError, CheckpointException, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint.name}: {FOLDER}/.metadata cannot be read ({error})", where=str(folder)
        ) from None
    state: dict[str, Any] = {}
    moments: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        if MODEL + name in stored:
            state[MODEL + name] = weight.detach()
        elif complete or not isinstance(weight, torch.nn.Parameter) or weight.requires_grad:
            raise CheckpointError(f"{checkpoint.name} has no weight {name}", where=str(folder))
        if optimizer is None or not weight.requires_grad:
            continue
        moments[name] = {}
        start = f"{OPTIMIZER}{name}."
        for key in (key for key in stored if key.startswith(start)):
            whole = tuple(getattr(stored[key], "size", ())) == tuple(weight.shape)
            scalar = torch.zeros((), device=weight.device)
            state[key] = moments[name][key.removeprefix(start)] = (
                torch.zeros_like(weight.detach()) if whole and weight.ndim else scalar
            )
    try:
        with _quietly():
            read_parts(
                state, checkpoint_id=str(folder), no_dist=alone or not torch.distributed.is_initialized()
            )
    except (CheckpointException, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{checkpoint.name} does not fit the model: {error}", where=str(folder)
        ) from None
    if optimizer is not None:
        put_back(optimizer, {name: weights[name] for name in moments}, moments)


def put_back(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Any], moments: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Give an optimiser the states of its weights, by name; hyper-parameters stay those of the recipe."""
    for name, values in moments.items():
        if values:
            optimizer.state[weights[name]] = dict(values)


def from_plain(
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, nn.Parameter],
    order: Sequence[str],
    flat: Source | None,
    layout: Layout,
) -> None:
    """Give the optimiser of a split model what a whole one's checkpoint holds: `<number>.<state>` of the
    weights in `order`, which the main process has read and sends. Raises `IndexError` where it is another
    model's."""
    moments: dict[str, dict[str, Tensor]] = {}

    def place_of(key: str, shape: torch.Size, kind: torch.dtype) -> Tensor | None:
        number, _, name = key.partition(".")
        weight = weights.get(order[int(number)])
        if weight is None:
            return None
        is_split = shape == weight.shape and weight.ndim
        place = (
            torch.zeros_like(weight.detach(), dtype=kind)
            if is_split
            else torch.zeros(shape, dtype=kind, device=weight.device)
        )
        moments.setdefault(order[int(number)], {})[name] = place
        return place

    send(flat, place_of, layout)
    put_back(optimizer, weights, moments)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """torch warns of its own deprecations here, and of a process that works alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_whole(checkpoint: Path, target: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Put the parts of a checkpoint together in `model`, which is whole and on the CPU, and write that to
    `target` as transformers stores it. One process does it; it needs memory for the whole model."""
    whole: dict[str, Tensor] = dict(model.named_parameters())
    load(checkpoint, {**whole, **persistent_buffers(model)}, None, alone=True)
    settings = {path.name: path for path in checkpoint.glob("*.json")}

    def fill(folder: Path) -> None:
        save_model(folder, cast("PreTrainedModel", model), tokenizer)
        # What followed from the weights as they were is in the checkpoint's own configuration, which knows
        # nothing of the model's class and precision.
        if "config.json" in settings:
            path = folder / "config.json"
            both = json.loads(path.read_bytes()) | json.loads(settings["config.json"].read_bytes())
            path.write_text(json.dumps(both, indent=2, sort_keys=True) + "\n")

    write_folder(target, fill)
