"""A learned prompt, read as the tokens that it lies nearest to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError
from workbench.models.load import load_config, load_model
from workbench.models.purpose import Purpose
from workbench.models.soft_prompts import nearest_tokens
from workbench.recipe import ModelSection
from workbench.store.soft_prompts import read_saved

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress


def soft_prompt(name: str, progress: Progress, count: int = 5) -> dict[str, Any]:
    """The soft prompt in a folder. Raises `ModelError` where there is none, or its model cannot be had."""
    folder = Path(name).expanduser()
    saved = read_saved(folder, name)
    if saved is None:
        raise ModelError(
            "the folder holds no soft prompt",
            where=name,
            hint="name a run with tuning.method prompt, or a folder of PEFT's prompt tuning",
        )
    told: dict[str, Any] = {"name": name, "kind": saved.kind, "length": saved.length, "base": saved.base}
    if saved.kind != "prompt tuning":
        return told | {"nearest": None}
    section = ModelSection(model_name_or_path=saved.base)
    pair = bool(getattr(load_config(section), "is_encoder_decoder", False))
    model = load_model(section, Purpose("denoise" if pair else "clm"))
    tokenizer = load_tokenizer(saved.base, revision=None, trust_remote_code=False)
    found = nearest_tokens(folder, model, tokenizer, count)
    return told | {"nearest": [[asdict(near) for near in row] for row in found]}
