"""Log-probabilities of answers under the reference, computed once and kept: which ones, and where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from workbench.errors import CheckpointError
from workbench.paths import cache_dir, ensure_dir
from workbench.store.files import replace_file

if TYPE_CHECKING:
    from torch import nn

FOLDER = "reference-logprobs"
RECORD = "reference.json"
TRAIN, EVAL = "train", "eval"

UNSAID = {"architectures", "dtype", "torch_dtype", "transformers_version", "use_cache", "name_or_path"}
"""Keys of a configuration that say nothing of what comes out, or that the weights say."""

Values = dict[str, NDArray[np.float32]]
"""Of each side, one number an answer of its store; NaN where it is not known."""


@dataclass(frozen=True)
class ReferenceCache:
    """The file that `key` names; what it holds always has the given numbers of answers."""

    key: str
    sizes: dict[str, int]

    @property
    def path(self) -> Path:
        """Where the values are."""
        return cache_dir(FOLDER) / f"{self.key}.safetensors"

    def read(self) -> Values:
        """What is known; a file that is damaged knows nothing."""
        empty = {side: np.full(size, np.nan, np.float32) for side, size in self.sizes.items()}
        try:
            found = load_file(self.path)
        except (OSError, SafetensorError):
            return empty
        sound = all(side in found and found[side].shape == (size,) for side, size in self.sizes.items())
        return found if sound else empty

    def write(self, values: Values) -> None:
        """Keep what is known now, and what another run with the same key knew before."""
        ensure_dir(self.path.parent)
        before = self.read()
        merged = {side: np.where(np.isnan(part), before[side], part) for side, part in values.items()}
        replace_file(self.path, save(merged), durable=True)


def weights_digest(model: nn.Module) -> str:
    """Stands for all weights of a model but those of its adapters."""
    found = blake2b(digest_size=16)
    for name, weights in sorted(model.named_parameters()):
        if "lora_" in name:
            continue
        # PEFT puts its own words into the names of what it wraps.
        found.update(name.replace("base_model.model.", "").replace(".base_layer", "").encode())
        whole = getattr(weights, "full_tensor", lambda weights=weights: weights)()
        found.update(whole.detach().contiguous().view(-1).view(torch.uint8).cpu().numpy().data)
    return found.hexdigest()


def settings_digest(model: Any) -> str:
    """Stands for what a model computes with its weights: all of its configuration but names, and what is of
    this process or of generating."""
    config = model.config.get_text_config().to_dict()
    told = {name: value for name, value in config.items() if not name.startswith("_") and name not in UNSAID}
    return blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def recorded(folder: Path) -> dict[str, Any] | None:
    """What a run noted of its reference when it began; None before it did.

    Raises `CheckpointError` where the note cannot be read.
    """
    path = folder / RECORD
    try:
        note: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{RECORD} cannot be read: {error}", where=str(path)) from None
    return note


def record(folder: Path, note: dict[str, Any]) -> None:
    """Note what a run's reference is, for when it goes on."""
    replace_file(folder / RECORD, orjson.dumps(note, option=orjson.OPT_INDENT_2) + b"\n", durable=True)
