"""Any decoder of transformers with a prefix before its rows, given as `past_key_values`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from workbench.errors import ModelError
from workbench.models.context import context_of_config
from workbench.models.shared_prefix.attention import IMPLEMENTATION
from workbench.models.shared_prefix.cache import SharedPrefixCache
from workbench.models.shared_prefix.prefix import PassedPrefix, SharedPrefix, check_context


@contextmanager
def shared_prefixes(model: Any) -> Iterator[Any]:
    """Within, `model` takes `past_key_values=SharedPrefixCache(prefix)`, to run, learn and `generate`.

    Attention masks are [B, T] over own tokens or [B, P + T], or 4-D; position ids, where given, count the
    prefix. Backward must end before the context does if gradients are checkpointed.
    """
    before = prepare_decoder(model)
    try:
        yield model
    finally:
        release_decoder(model, before)


def prepare_decoder(model: Any) -> str:
    """The same for good, until `release_decoder` is given the answer: the attention that the model had.
    Raises `ModelError` for a model that cannot be so called."""
    from workbench.models.shared_prefix.support import decoder_support

    if reason := decoder_support(model):
        raise ModelError(reason, where=type(model).__name__)
    before: str = model.config._attn_implementation
    model.register_forward_pre_hook(_with_prefix, with_kwargs=True)
    model.set_attn_implementation(IMPLEMENTATION)
    return before


def release_decoder(model: Any, before: str) -> None:
    """Undo `prepare_decoder`, giving the model the attention that it had `before`."""
    # Found by its function, not by a handle: a copy of the model has no handle of its own.
    for key in [key for key, hook in model._forward_pre_hooks.items() if hook is _with_prefix]:
        model._forward_pre_hooks.pop(key)
        model._forward_pre_hooks_with_kwargs.pop(key, None)
    model.set_attn_implementation(before)


@torch.no_grad()
def prefix_of_prompt(model: Any, input_ids: Tensor) -> SharedPrefix:
    """The prefix that a prompt [P] or [1, P] is for what follows it: one pass of a model that is not
    prepared. `generate` then takes rows [B, P + T] that begin with the prompt, and the prefix's cache."""
    from transformers import DynamicCache

    cache = DynamicCache()
    model(input_ids.reshape(1, -1), past_key_values=cache, use_cache=True)
    return SharedPrefix(tuple((layer.keys[0], layer.values[0]) for layer in cache.layers))


def _with_prefix(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Before each call: hand the cache's prefix to every attention, with a mask that counts it."""
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, SharedPrefixCache):
        return None
    given = (*args[:1], kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
    tokens = next(x for x in given if x is not None)
    rows, queries = tokens.shape[:2]
    own, prefix = cache.own + queries, cache.prefix.length
    config = model.config.get_text_config()
    _check_layers(cache, config.num_hidden_layers, type(model).__name__)
    check_context(prefix, own, context_of_config(config), type(model).__name__)
    _refuse_reentrant(model)
    mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
    if mask is None and positions is not None and own == queries > 1:
        mask = _documents(positions.expand(rows, -1), prefix, config)
    if mask is not None and mask.ndim == 2:
        mask = _counting(mask, prefix, own)
    cache.keep(kwargs.get("use_cache") is not False)
    weights = kwargs.get("output_attentions")
    weights = config.output_attentions if weights is None else weights
    passed = PassedPrefix(cache.prefix, weights=bool(weights))
    return args, {**kwargs, "attention_mask": mask, "shared_prefix": passed}


def _check_layers(cache: SharedPrefixCache, layers: int, where: str) -> None:
    """Every layer has its part of the prefix, and none is left over."""
    if len(cache.layers) != layers:
        raise ModelError(
            f"the prefix has keys and values for {len(cache.layers)} layers, and the model has {layers}",
            where=where,
            hint="use a prefix made for this model",
        )


def _counting(mask: Tensor, prefix: int, own: int) -> Tensor:
    """A padding mask [B, P + T] of one that may be of own tokens alone."""
    if mask.shape[1] == own:
        return torch.cat([mask.new_ones(len(mask), prefix), mask], 1)
    if mask.shape[1] != prefix + own:
        raise ModelError(
            f"the attention mask is for {mask.shape[1]} positions, and there are {own}, or {prefix + own} "
            "with the prefix",
            where="attention_mask",
        )
    if not torch.compiler.is_compiling() and not bool(mask[:, :prefix].all()):
        raise ModelError("the attention mask hides a part of the shared prefix", where="attention_mask")
    return mask


def _documents(positions: Tensor, prefix: int, config: Any) -> Tensor | None:
    """Booleans [B, 1, T, T] that keep packed documents apart, which start where `positions` do not go on by
    one; None where each row is one. Every document stands behind the prefix."""
    from transformers.masking_utils import find_packed_sequence_indices

    documents = find_packed_sequence_indices(positions)
    if documents is None:
        return None
    window = getattr(config, "sliding_window", None)
    if window is not None and prefix + positions.shape[1] > window:
        raise ModelError(
            f"packed documents behind a prefix of {prefix} do not fit into a window of {window}",
            where="position_ids",
            hint="do not pack",
        )
    same: Tensor = documents[:, :, None] == documents[:, None, :]
    return same.tril()[:, None]


def _refuse_reentrant(model: Any) -> None:
    """A reentrant checkpoint loses the gradient of what it is not handed as an argument: the prefix."""
    if not (model.training and torch.is_grad_enabled()) or torch.compiler.is_compiling():
        return
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            function = getattr(module, "_gradient_checkpointing_func", None)
            if getattr(function, "keywords", {}).get("use_reentrant", False):
                raise ModelError(
                    "reentrant gradient checkpointing loses the gradient of a prefix",
                    where=type(model).__name__,
                    hint="call gradient_checkpointing_enable with use_reentrant=False",
                )
            return
