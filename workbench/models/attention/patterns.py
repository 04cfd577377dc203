"""Who sees whom in each layer of a decoder, read from its configuration."""

from __future__ import annotations

from typing import Any

from workbench.models.attention.configuration import MODEL_TYPE
from workbench.models.fused_weights import why_not_parts
from workbench.ops.sparse_attention.pattern import Pattern

WINDOWS = {"sliding_attention", "full_attention"}


def layer_patterns(config: Any) -> list[Pattern | None] | str:
    """The pattern of each layer, None for linear attention; or why they cannot be told."""
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    if config.model_type == MODEL_TYPE:
        if reason := why_not_parts(config):
            return reason
        return [None if config.is_linear else config.pattern] * layers
    if reason := why_not_parts(config):
        return reason
    window, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    if not kinds:
        kinds = [
            "sliding_attention" if window and config.model_type == "mistral" else "full_attention"
        ] * layers
    if other := set(kinds) - WINDOWS:
        return f"it has layers of {', '.join(sorted(other))}"
    return [Pattern(window) if kind == "sliding_attention" else Pattern() for kind in kinds]
