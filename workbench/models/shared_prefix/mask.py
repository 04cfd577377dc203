"""What a decoder's attention mask is, where a prefix before it is seen by all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import causal_mask_function, sdpa_mask
from transformers.utils.import_utils import is_tracing


def shared_prefix_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    device: Any = "cpu",
    **_: Any,
) -> Tensor | None:
    """The mask of own keys behind a prefix of `kv_offset` positions, as `AttentionMaskInterface` asks for it:

    None, where each query sees the prefix and all own keys up to itself; integers [2, B], where row b sees
    own keys from `[0, b]` up to, not including, `[1, b]` (left and right padding); otherwise booleans
    [B, 1, S, P + T] over prefix and own keys (windows that end within the context, gaps in the padding).
    """
    local = local_size is not None and q_offset + q_length <= local_size
    if allow_is_causal_skip and (mask_function is causal_mask_function or local):
        if attention_mask is None:
            return None
        own = attention_mask[:, kv_offset : kv_offset + kv_length].bool()
        bounds, whole = _bounds(own)
        if is_tracing(own):
            # A graph cannot look at the mask to choose its path.
            torch._assert_async(whole, "a compiled model takes padding at the left and right only")
            return bounds
        if bool(own.all()):
            return None
        if bool(whole):
            return bounds
    mask: Tensor | None = sdpa_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_offset + kv_length,
        q_offset=q_offset,
        kv_offset=0,
        mask_function=mask_function,
        attention_mask=attention_mask,
        allow_is_causal_skip=False,
        use_vmap=use_vmap,
        device=device,
    )
    return mask


def _bounds(own: Tensor) -> tuple[Tensor, Tensor]:
    """Where the seen keys of each row of `own` [B, T] start and end, [2, B], and whether they have no gap."""
    starts = own.int().argmax(-1)
    ends = starts + own.sum(-1)
    places = torch.arange(own.shape[-1], device=own.device)
    whole = ((places >= starts[:, None]) & (places < ends[:, None]) == own).all()
    return torch.stack([starts, ends]), whole
