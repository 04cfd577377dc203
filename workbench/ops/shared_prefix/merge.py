"""Two attentions of the same queries over different keys, as the one over all of them."""

from __future__ import annotations

import torch
from torch import Tensor


def merge(one: Tensor, one_lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Output [B, H, S, d] and log-sum-exp [B, H, S] over the keys of both; the shares are in fp32.

    Milakov and Gimelshein 2018 (online softmax); `one_lse` must be finite, `other_lse` may be −∞.
    """
    share = torch.sigmoid(other_lse - one_lse)[..., None]
    precise = torch.promote_types(one.dtype, torch.float32)
    output = torch.lerp(one.to(precise), other.to(precise), share.to(precise)).to(one.dtype)
    return output, torch.logaddexp(one_lse, other_lse)
