"""Soft prompts in folders, as PEFT saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN = 48
"""Of the embeddings of the model that `served` serves."""


def write(
    folder: Path,
    base: Path,
    *,
    kind: str = "PROMPT_TUNING",
    length: int = 4,
    width: int = HIDDEN,
    seed: int = 0,
) -> Path:
    """A soft prompt as PEFT saves it."""
    folder.mkdir(parents=True)
    settings = {"peft_type": kind, "num_virtual_tokens": length, "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "task_type": "CAUSAL_LM"}))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(length, width, generator=generator)
    save_file({"prompt_embeddings": matrix}, folder / "adapter_model.safetensors")
    return folder
