"""Soft prompts on disk: PEFT's own format, folded, with what an exact resume needs beside it.

`adapter_model.safetensors` holds the prompt [P, D] or the plain prefix [P, 2·L·D], whatever it was learned
through. A prefix that is being learned through a projection has that in a file of its own, in checkpoints
alone; a final model has it no more (Li & Liang 2021, section 4.3).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from workbench.errors import ModelError

PROJECTION = "prefix_projection.safetensors"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
TABLE = "prompt_embeddings"
"""What PEFT calls the weights of any soft prompt."""


def fold_saved(model: Any, folder: Path) -> None:
    """Make what PEFT has saved in `folder` of a prefix with a projection a plain prefix, and put the
    projection beside it. PEFT writes the folded prefix, but a configuration that still asks for the rest."""
    config = model.active_peft_config
    if not getattr(config, "prefix_projection", False):
        return
    told = json.loads((folder / CONFIG).read_bytes())
    told |= {"prefix_projection": False, "encoder_hidden_size": None}
    (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True))
    encoder = model.prompt_encoder[model.active_adapter]
    state = {name: weights.detach().cpu().contiguous() for name, weights in encoder.state_dict().items()}
    save_file(state, folder / PROJECTION)


def load_into(encoder: Any, folder: Path) -> None:
    """Give PEFT's prompt encoder the weights of a checkpoint. Raises `ModelError` naming both shapes where
    they are of another model or number of virtual tokens."""
    projected = hasattr(encoder, "transform")
    found = read_tensors(folder / (PROJECTION if projected else WEIGHTS))
    if not projected:
        found = {"embedding.weight": found[TABLE]} if TABLE in found else found
    own = encoder.state_dict()
    for name, weights in own.items():
        if name not in found:
            raise ModelError(f"the checkpoint holds no soft prompt: {name} is missing", where=str(folder))
        if found[name].shape != weights.shape:
            raise ModelError(
                f"the soft prompt is of shape {tuple(found[name].shape)}, and this model and recipe need "
                f"{tuple(weights.shape)}",
                where=str(folder),
                hint="it was learned for another model, or for another tuning.num_virtual_tokens",
            )
    with torch.no_grad():
        for name, weights in own.items():
            weights.copy_(found[name])


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file. Raises `ModelError` where it is missing or damaged."""
    if not path.is_file():
        raise ModelError(f"the checkpoint holds no {path.name}", where=str(path.parent))
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the weight file is damaged or cut short: {error}", where=str(path)) from None
