"""Log-probabilities of a head that is trained, where what is learnt from them is known only when all are.

Logits are made a few rows at a time, and once more in the backward pass, when the gradient of each
log-probability is there: that is one product of three more, and no logits are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.ops.decoder_training import native
from workbench.ops.decoder_training.blocks import add_product, chunks
from workbench.ops.decoder_training.products import times, times_transposed


def target_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log softmax(weight h)[target] [N] in fp32, of hidden states [N, D] and weight [V, D], fp32, and targets
    [N] (int64), none of them negative. Products are in autocast's type, or fp32; all else is in fp32. For
    what `head.why_not` has nothing against. The same bits with and without gradients.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(weight):
        raise ValueError(f"a target is outside a vocabulary of {len(weight)}")
    with torch.autocast("cpu", enabled=False):
        found: Tensor = _Logprobs.apply(hidden, weight, targets.contiguous(), dtype)
    return found


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        states, head = hidden.to(dtype).contiguous(), weight.to(dtype)
        found = hidden.new_empty(len(targets), dtype=torch.float32)
        for here in chunks(len(targets), head):
            logits = times_transposed(states[here], head)
            found[here] = native.cross_entropy_(logits, targets[here], gradient=False)[0].neg_()
        ctx.save_for_backward(states, weight, targets)
        ctx.dtypes = hidden.dtype, dtype
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        states, weight, targets = ctx.saved_tensors
        of_type, dtype = ctx.dtypes
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        head = weight.to(dtype)
        factors = -grad[:, None]
        of_hidden = torch.empty_like(states) if wants_hidden else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        for here in chunks(len(targets), head):
            slopes = times_transposed(states[here], head)
            # The gradient of each loss is where its logits were; each log-probability has its own factor.
            native.cross_entropy_(slopes, targets[here], gradient=True)
            if of_hidden is not None:
                of_hidden[here] = times(slopes, head) * factors[here]
            if of_weight is not None:
                add_product(of_weight, slopes, (states[here] * factors[here]).to(dtype))
        return None if of_hidden is None else of_hidden.to(of_type), of_weight, None, None
