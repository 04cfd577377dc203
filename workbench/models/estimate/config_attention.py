"""What the tokens of an existing decoder see, read from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.recipe.attention_kinds import AttentionShape

MISTRAL_WINDOW, QWEN_LAYERS = 4096, 28
"""What transformers takes where a file says nothing: a window, and Qwen 3's first layers without one."""


def attention_of_config(kind: str, config: Mapping[str, Any], layers: int) -> AttentionShape:
    """Of a model of this type with so many layers. Raises `KeyError` for a size that is missing."""
    if kind == "workbench_llama":
        name = config.get("attention_kind", "window_global")
        if name == "linear":
            return AttentionShape("linear")
        window = int(config["attention_window"])
        if name == "strided":
            return AttentionShape("strided", window, stride=int(config["attention_stride"]))
        return AttentionShape("window_global", window, int(config.get("global_tokens", 0)))
    window = config.get("sliding_window", MISTRAL_WINDOW if kind in ("mistral", "ministral") else None)
    kinds = config.get("layer_types")
    if not window or kind == "llama" or (kind == "qwen3" and not config.get("use_sliding_window", False)):
        return AttentionShape()
    if not kinds:
        most = int(config.get("max_window_layers", QWEN_LAYERS)) if kind == "qwen3" else 0
        kinds = ["full_attention" if i < most else "sliding_attention" for i in range(layers)]
    whole = sum(entry == "full_attention" for entry in kinds)
    if whole == layers:
        return AttentionShape()
    if not whole:
        return AttentionShape("sliding_window", int(window))
    return AttentionShape("window_global", int(window), whole_layers=whole)
