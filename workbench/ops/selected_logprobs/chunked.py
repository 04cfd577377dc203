"""Selected log-probabilities by blocks of the vocabulary: one block of logits exists at a time.

Forward keeps a running maximum and sum of every token but the target, so that 1 − p and log p keep their
digits where p is near 1: log p = log σ(z_target − log Σ_others exp z). Where only the hidden states need a
gradient, d log p / d hidden is made on the way, as attention makes its output, and nothing is computed twice
(Milakov and Gimelshein 2018; Dao et al. 2022, FlashAttention, algorithm 1). A head that is trained needs the
gradient of log p before its own is known, and the logits are computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from workbench.ops.selected_logprobs.definition import Inputs, precise, shaped

BLOCK = {"cpu": 1 << 20}
OTHER_BLOCK = 1 << 25
"""Logits of a block. 4 MiB of fp32 remain in a CPU's cache (4 × as many: 1.05 × the time); elsewhere launches
cost more than memory."""
LEAST_WIDTH = 256
"""Tokens of a block at least, however many places there are: narrower products are slow."""

Found = tuple[Tensor, Tensor, Tensor, Tensor]
"""log p [N], log-sum-exp [N], whether the target is best [N], and d log p / d hidden [N, D], or [0]."""
Gradients = tuple[Tensor, Tensor, Tensor]
"""Of hidden states, weight and bias; of no elements where not asked for."""


def chunked(inputs: Inputs, wants_slope: bool) -> Found:
    """See `definition`; the log-sum-exp is over the whole vocabulary, in fp32 (of fp64 in fp64)."""
    kept = (inputs.targets != inputs.ignore_index).nonzero()[:, 0]
    few = inputs._replace(hidden=inputs.hidden[kept], targets=inputs.targets[kept].long())
    count, size = inputs.hidden.shape
    wide = precise(inputs.hidden.dtype)
    found = (
        inputs.hidden.new_zeros(count, dtype=wide),
        inputs.hidden.new_zeros(count, dtype=wide),
        inputs.hidden.new_zeros(count, dtype=torch.bool),
        inputs.hidden.new_zeros((count, size) if wants_slope else (0,), dtype=wide),
    )
    if len(kept):
        for whole, part in zip(found, _forward(few, wants_slope), strict=True):
            if whole.numel():
                whole[kept] = part
    return found


def _forward(inputs: Inputs, wants_slope: bool) -> Found:
    """The same where no target is ignored."""
    hidden, weight, targets, *_ = inputs
    wide = precise(hidden.dtype)
    most = hidden.new_full((len(hidden), 1), torch.finfo(wide).min, dtype=wide)
    total = torch.zeros_like(most)
    target = torch.full_like(most, -torch.inf)
    pull = hidden.new_zeros(hidden.shape if wants_slope else (0,), dtype=wide)
    for start, part, logits in _blocks(inputs):
        is_inside, column = _places(targets, start, len(part))
        taken = logits.gather(1, column)
        target = torch.where(is_inside, taken, target)
        bend = _bend(logits, inputs) if wants_slope else None
        logits.scatter_(1, column, taken.masked_fill(is_inside, -torch.inf))
        before, most = most, torch.maximum(most, logits.amax(1, keepdim=True))
        shares = logits.sub_(most).exp_()
        fade = before.sub_(most).exp_()
        total.mul_(fade).add_(shares.sum(1, keepdim=True))
        if wants_slope:
            _add_product(pull.mul_(fade), shares if bend is None else shares.mul_(bend), part)
    rest = most + total.log()
    logprobs, lse = logsigmoid(target - rest), torch.logaddexp(target, rest)
    if wants_slope:
        whole = total + (target - most).exp()
        bend = _bend(target, inputs)
        own = (total / whole) if bend is None else (total / whole) * bend
        pull = weight[targets].to(wide).mul_(own).sub_(pull.div_(whole))
        pull.mul_(inputs.scale / inputs.temperature)
    return logprobs[:, 0], lse[:, 0], (target >= most)[:, 0], pull


def chunked_backward(
    inputs: Inputs, grad: Tensor, logprobs: Tensor, lse: Tensor, wants_hidden: bool, wants_head: bool
) -> Gradients:
    """Gradients from that of the log-probabilities [N], and from what `chunked` found."""
    kept = (inputs.targets != inputs.ignore_index).nonzero()[:, 0]
    few = inputs._replace(hidden=inputs.hidden[kept], targets=inputs.targets[kept].long())
    blocks = _logit_gradients(few, grad[kept], logprobs[kept], lse[kept])
    of_hidden, of_weight, of_bias = products(few, blocks, wants_hidden, wants_head)
    if not wants_hidden:
        return of_hidden, of_weight, of_bias
    spread = torch.zeros_like(inputs.hidden)
    spread[kept] = of_hidden
    return spread, of_weight, of_bias


def products(
    inputs: Inputs, blocks: Iterable[tuple[int, Tensor]], wants_hidden: bool, wants_head: bool
) -> Gradients:
    """Gradients from those of w h + b: `blocks` are the first token and the gradients [N, v] of consecutive
    parts of the vocabulary. Sums over the vocabulary are in fp32 (of fp64 in fp64)."""
    hidden, weight, _, bias, *_ = inputs
    of_hidden = hidden.new_zeros(hidden.shape if wants_hidden else (0,), dtype=precise(hidden.dtype))
    of_weight = torch.empty_like(weight) if wants_head else weight.new_empty(0)
    of_bias = weight.new_empty(len(weight) if wants_head and bias is not None else 0)
    for start, grads in blocks:
        end = start + grads.shape[1]
        if of_bias.numel():
            of_bias[start:end] = grads.sum(0, dtype=of_hidden.dtype)
        if wants_head:
            torch.mm(grads.T.to(weight.dtype), hidden, out=of_weight[start:end])
        if wants_hidden:
            _add_product(of_hidden, grads, weight[start:end])
    return of_hidden.to(hidden.dtype), of_weight, of_bias


def _logit_gradients(
    inputs: Inputs, grad: Tensor, logprobs: Tensor, lse: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """First token and gradients of w h + b [N, v] of each block, where no target is ignored."""
    slopes = grad[:, None].to(lse.dtype) * (inputs.scale / inputs.temperature)
    own = -torch.expm1(logprobs[:, None]) * slopes
    for start, part, logits in _blocks(inputs):
        is_inside, column = _places(inputs.targets, start, len(part))
        bend = _bend(logits, inputs)
        grads = logits.sub_(lse[:, None]).exp_().mul_(-slopes)
        grads.scatter_(1, column, torch.where(is_inside, own, grads.gather(1, column)))
        yield start, grads if bend is None else grads.mul_(bend)


def _blocks(inputs: Inputs) -> Iterator[tuple[int, Tensor, Tensor]]:
    """First token, weights [v, D] and logits [N, v] of each block; the logits may be written to."""
    hidden, weight, _, bias, *_ = inputs
    width = max(LEAST_WIDTH, BLOCK.get(hidden.device.type, OTHER_BLOCK) // max(1, len(hidden)))
    for start in range(0, len(weight), width):
        part = weight[start : start + width]
        logits = linear(hidden, part, None if bias is None else bias[start : start + width])
        yield start, part, shaped(logits.to(precise(hidden.dtype)), inputs)


def _places(targets: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Whether each target is of this block [N, 1], and its column there [N, 1]: any, where it is not."""
    column = (targets - start)[:, None]
    return (column >= 0) & (column < width), column.clamp(0, width - 1)


def _bend(logits: Tensor, inputs: Inputs) -> Tensor | None:
    """What the cap makes of the slope of capped logits: 1 − tanh²; None without one."""
    if inputs.softcap is None:
        return None
    return (logits * (inputs.temperature / inputs.softcap)).square_().neg_().add_(1)


def _add_product(total: Tensor, shares: Tensor, part: Tensor) -> None:
    """Adds shares [N, v] times part [v, D], multiplied in the type of `part`, to the total [N, D]."""
    if total.dtype == part.dtype:
        total.addmm_(shares, part)
    else:
        total.add_(shares.to(part.dtype) @ part)
