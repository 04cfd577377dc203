"""A model of transformers from a folder: safetensors, or a GGUF file made whole again."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig

import workbench.models.attention  # noqa: F401  (its type of model is known then)
from workbench.errors import MissingExtraError, ModelError
from workbench.inference.loading.explain import explain
from workbench.inference.loading.kinds import AUTO_CLASSES
from workbench.installing import pip_install

if TYPE_CHECKING:
    from workbench.inference.loading.places import Place

CONSTANTS = ("position_ids", "attn.bias", "masked_bias")
"""Weights that are none: old files have them, newer ones need not."""
POOLER = "pooler."
"""A layer that embedders were trained with, and that nothing asks when vectors are made of all tokens."""
ALIGNED = 64


def config_of(place: Place, *, code: bool = False) -> Any:
    """The configuration. Raises `ModelError`, `MissingExtraError`."""
    options = _options(place, code)
    try:
        return AutoConfig.from_pretrained(str(place.folder), **options)
    except Exception as error:
        # See `explain`.
        raise explain(error, _where(place)) from error


def read_model(
    place: Place,
    config: Any,
    class_name: str,
    dtype: torch.dtype,
    device: torch.device,
    *,
    code: bool = False,
    brought: frozenset[str] = frozenset(),
) -> Any:
    """The model on its device, in evaluation mode. Weights that are `brought` by adapters may be missing;
    those that are there may still lie in the file (see `own_weights`).

    Raises `ModelError` for weights that are missing, damaged, or not those of the configuration.
    """
    options = _options(place, code)
    if place.gguf is not None:
        # Few devices have products for its codes: weights are spread out to `dtype`.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    if device.type != "cpu":
        options["device_map"] = {"": str(device)}
    try:
        model, info = getattr(transformers, class_name).from_pretrained(
            str(place.folder),
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=bool(brought),
            **options,
        )
    except Exception as error:
        raise explain(error, _where(place)) from error
    optional = (*CONSTANTS, POOLER) if class_name == AUTO_CLASSES["embedder"] else CONSTANTS
    odd = {*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])} - brought
    missing = sorted(key for key in odd if not any(part in key for part in optional))
    if missing:
        raise ModelError(
            f"{len(missing)} of its weights are missing or of another shape: {', '.join(missing[:3])}",
            where=_where(place),
            hint="was it copied or downloaded completely?",
        )
    model.eval().requires_grad_(False)
    return model


def _options(place: Place, code: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"trust_remote_code": code, "local_files_only": True}
    if place.gguf is not None:
        need_gguf(_where(place))
        options["gguf_file"] = place.gguf
    return options


def need_gguf(where: str) -> None:
    """Raise `MissingExtraError` when the package that reads GGUF files is missing."""
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtraError(
            "reading GGUF files needs the package gguf", where=where, hint=pip_install("gguf")
        )


def _where(place: Place) -> str:
    return str(place.folder / place.gguf if place.gguf else place.folder)


def own_weights(model: Any) -> None:
    """Copy weights out of the mapped file, where they lie at odd addresses: products of vectors are slower
    there, and a file that is replaced would take them along. To be called before anything runs."""
    for weights in [*model.parameters(), *model.buffers()]:
        if weights.device.type == "cpu" and weights.data_ptr() % ALIGNED:
            weights.data = weights.data.clone()
