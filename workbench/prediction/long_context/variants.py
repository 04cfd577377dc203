"""A model with its positions as they are, or stretched: opened, and told of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from workbench.errors import ModelError
from workbench.models.context import context_of_config
from workbench.models.fast_products import use_fast_products
from workbench.models.fused_layers import fuse_layers
from workbench.models.load import load_config
from workbench.models.rope_scaling import extension_of, in_words, parameters_of
from workbench.prediction.opening import Opened, base_name, open_model
from workbench.recipe import ModelSection
from workbench.rope_extension import TITLES, RopeExtension


def config_of(name: str) -> Any:
    """The configuration of a model, or of adapters: with what their positions were stretched by."""
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        try:
            return AutoConfig.from_pretrained(str(folder))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"its config.json cannot be read: {error}", where=name) from None
    return load_config(ModelSection(model_name_or_path=base_name(folder) or name))


def open_variant(name: str, device: torch.device, method: Mapping[str, Any], longest: int) -> Opened:
    """The model, in evaluation mode, stretched by a method, or as it is where that is empty.

    Raises `ModelError` for what is no decoder, what cannot be stretched, and where `longest` tokens have no
    positions.
    """
    extension = RopeExtension(**method) if method else None
    opened = open_model(name, device, extension=extension)
    if opened.purpose.objective != "clm":
        raise ModelError(
            f"it does not predict the next token, it was made for {opened.purpose.objective}",
            where=name,
            hint="name a decoder: a run of clm, sft, dpo or ppo, or a folder with one",
        )
    config = opened.model.config
    context = context_of_config(config)
    if not any(True for _ in parameters_of(config)) and context is not None and longest > context:
        raise ModelError(
            f"{longest:,} tokens do not fit into its context of {context:,}, and its positions are no rotary "
            "ones that could go on",
            where=name,
            hint=f"--lengths of at most {context:,}",
        )
    if device.type == "cpu":
        fuse_layers(opened.model)
        use_fast_products(opened.model)
    return opened


def about(opened: Opened, method: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of a variant."""
    extension = extension_of(opened.model.config)
    return {
        "method": method.get("method", "none"),
        "title": title_of(method),
        "factor": method.get("factor"),
        "extension": None if extension is None else in_words(extension),
        "context": context_of_config(opened.model.config),
    }


def title_of(method: Mapping[str, Any]) -> str:
    """A variant for people: `YaRN ×4`, `as it is`."""
    return f"{TITLES[method['method']]} ×{method['factor']:g}" if method else "as it is"


def describe(device: torch.device) -> str:
    """The device as a person would name it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
