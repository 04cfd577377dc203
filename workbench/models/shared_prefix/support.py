"""Whether a model can have a shared prefix, and if not, why."""

from __future__ import annotations

from typing import Any

from workbench.models.rope_scaling import is_moving


def shared_prefix_support(model: Any) -> str | None:
    """Why `use_shared_prefix` does not take this model of PEFT, or None when it does. What it does not take
    still trains and generates by PEFT's own way, which copies the prefix for each row."""
    config: Any = getattr(model, "active_peft_config", None)
    kind = getattr(config, "peft_type", None)
    if kind is None or getattr(kind, "value", kind) != "PREFIX_TUNING":
        return f"its adapter is {getattr(kind, 'value', 'none of PEFT')}, not PREFIX_TUNING"
    if getattr(config, "num_transformer_submodules", 1) != 1:
        return "an encoder–decoder has its prefix in cross-attention too, so PEFT's own way is kept"
    task = getattr(config.task_type, "value", config.task_type)
    if task != "CAUSAL_LM":
        return f"its task is {task}, and only a decoder that writes (CAUSAL_LM) has caches"
    return decoder_support(model.get_base_model())


def decoder_support(model: Any) -> str | None:
    """Why a model of transformers cannot take a `SharedPrefixCache`, or None when it can."""
    config = getattr(model, "config", None)
    if config is None or not hasattr(model, "set_attn_implementation"):
        return "it is no model of transformers"
    if config.is_encoder_decoder or getattr(config, "add_cross_attention", False):
        return "it has cross-attention, and a shared prefix goes before self-attention only"
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be exchanged (no AttentionInterface)"
    if is_moving(config):
        return "its rotary angles depend on how long the text is (dynamic NTK)"
    text = config.get_text_config()
    if not getattr(text, "is_causal", True):
        return "its attention is not causal"
    if getattr(text, "num_kv_shared_layers", 0) or getattr(text, "is_heterogeneous", False):
        return "its layers differ in their key/value heads or share them"
    kinds = set(getattr(text, "layer_types", None) or ())
    if other := kinds - {"full_attention", "sliding_attention", "chunked_attention"}:
        return f"it has layers of {', '.join(sorted(other))}"
    return None
