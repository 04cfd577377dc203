"""PEFT's prefix tuning by the shared-prefix operator, trained and generated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.models.shared_prefix.attention import IMPLEMENTATION
from workbench.models.shared_prefix.by_layer import by_layer
from workbench.models.shared_prefix.cache import SharedPrefixCache
from workbench.models.shared_prefix.decoder import prepare_decoder, release_decoder
from workbench.models.shared_prefix.prefix import SharedPrefix, check_fits
from workbench.models.shared_prefix.support import shared_prefix_support

if TYPE_CHECKING:
    from peft import PeftModel

BEFORE = "_attention_before_shared_prefix"


def use_shared_prefix(model: PeftModel) -> PeftModel:
    """Let a prefix-tuned decoder run its prefix unexpanded (Li & Liang 2021), and return it: forward,
    backward and `generate` give what PEFT's eager way gives, in any padding.

    Gradient checkpointing works (PEFT alone refuses it) if enabled after PEFT has wrapped the model, and
    not reentrant. Saved files are PEFT's own. `undo_shared_prefix` undoes it. Raises `ModelError` for what
    `shared_prefix_support` has a reason against, a prefix of another model, or one longer than the context.
    """
    if hasattr(model, BEFORE):
        return model
    if reason := shared_prefix_support(model):
        raise ModelError(reason, where=type(model).__name__, hint="use PEFT's own way: leave it as it is")
    base: Any = model.get_base_model()
    for name, config in model.peft_config.items():
        check_fits(_shape(config), base.config, f"adapter {name}")
    before = prepare_decoder(base)
    # Bound to the model, so that a copy of it has its own.
    wrapped: Any = model
    wrapped.get_prompt = MethodType(_prompt, model)
    wrapped.disable_adapter = MethodType(_disabled, model)
    setattr(wrapped, BEFORE, before)
    return model


def undo_shared_prefix(model: PeftModel) -> PeftModel:
    """Give the model PEFT's own way back, and return it; nothing happens where it has it."""
    before = getattr(model, BEFORE, None)
    if before is not None:
        wrapped: Any = model
        del wrapped.get_prompt, wrapped.disable_adapter
        delattr(wrapped, BEFORE)
        release_decoder(model.get_base_model(), before)
    return model


def _prompt(
    self: PeftModel, batch_size: int, task_ids: Any = None, max_cache_len: int | None = None
) -> SharedPrefixCache:
    """What stands in for PEFT's `get_prompt`."""
    return SharedPrefixCache(learned_prefix(self))


@contextmanager
def _disabled(self: PeftModel) -> Iterator[None]:
    """What stands in for PEFT's `disable_adapter`: the base model, by its own attention."""
    base: Any = self.get_base_model()
    base.set_attn_implementation(getattr(self, BEFORE))
    try:
        with type(self).disable_adapter(self):
            yield
    finally:
        base.set_attn_implementation(IMPLEMENTATION)


def learned_prefix(model: PeftModel) -> SharedPrefix:
    """The active adapter's prefix, in the base model's type: its table, or what its reparameterisation makes
    of it. One cast for all layers; gradients flow through it."""
    config: Any = model.active_peft_config
    adapter = model.active_adapter
    encoder: Any = model.prompt_encoder[adapter]
    if config.prefix_projection and not config.inference_mode:
        tokens = model.prompt_tokens[adapter][: config.num_virtual_tokens]
        learned = encoder(tokens.to(encoder.embedding.weight.device))
    else:
        # Its rows in their order, which looking them up one by one would only copy.
        learned = encoder.embedding.weight
    layers, heads, _, _ = _shape(config)
    base: Any = model.get_base_model()
    return SharedPrefix(by_layer(learned, layers, heads, base.dtype))


def _shape(config: Any) -> tuple[int, int, int, int]:
    """Layers, key/value heads, positions and size of a head of a prefix that PEFT's `config` describes."""
    heads = config.num_attention_heads
    return config.num_layers, heads, config.num_virtual_tokens, config.token_dim // heads
