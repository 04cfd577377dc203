"""Rotary position embeddings (Su et al. 2021) and what stretches them, as llama.cpp is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from workbench.errors import ModelError
from workbench.exporting.llama_cpp.architectures import Architecture, heads_of

FACTORS = "rope_freqs.weight"
"""A factor for each frequency, by which it is divided."""


@dataclass
class Rope:
    """The base of the frequencies, keys for the stretching (behind `<architecture>.rope.scaling.`), the
    factors [head_size / 2] of Llama 3, and what a reader should know."""

    theta: float
    scaling: dict[str, Any] = field(default_factory=dict)
    factors: torch.Tensor | None = None
    notes: list[str] = field(default_factory=list)


def rope_of(config: Any, architecture: Architecture, where: str) -> Rope:
    """Raises `ModelError` for a kind that llama.cpp has not, or reckons otherwise."""
    values: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    kind = str(values.get("rope_type", "default"))
    rope = Rope(float(values.get("rope_theta") or getattr(config, "rope_theta", None) or 10_000.0))
    if kind == "default":
        return rope
    if kind == "linear":
        rope.scaling = {"type": "linear", "factor": float(values["factor"])}
        return rope
    if kind == "dynamic":
        rope.notes.append(
            f"positions beyond {config.max_position_embeddings:,} are stretched here as a text grows, and "
            "not in llama.cpp"
        )
        return rope
    if kind == "yarn" and not _unusual_yarn(values):
        rope.scaling = _yarn(config, values)
        return rope
    if kind == "llama3" and architecture.scaled_rope:
        rope.factors = _llama3_factors(config, rope.theta)
        return rope
    raise ModelError(
        f"rotary embeddings of the kind {kind} are not written as GGUF for {architecture.name}",
        where=where,
        hint="--format safetensors takes every model",
    )


def _unusual_yarn(values: Mapping[str, Any]) -> bool:
    """What llama.cpp would reckon otherwise: another scale of attention, ramps not cut to whole numbers."""
    names = ("attention_factor", "mscale", "mscale_all_dim")
    return any(values.get(name) for name in names) or values.get("truncate") is False


def _yarn(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Peng et al. 2023."""
    original = values.get("original_max_position_embeddings") or config.max_position_embeddings
    found = {
        "type": "yarn",
        "factor": float(values["factor"]),
        "original_context_length": int(original),
    }
    for name in ("beta_fast", "beta_slow"):
        if values.get(name):
            found[f"yarn_{name}"] = float(values[name])
    return found


def _llama3_factors(config: Any, theta: float) -> torch.Tensor:
    """What Llama 3.1's stretching divides each frequency θ^(−2i/d) by."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    size = heads_of(config)[2]
    plain = theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors: torch.Tensor = (plain / stretched.double()).float()
    return factors
