"""The CUDA path of selected log-probabilities: memory for the results, launches, torch's stream."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.ops.cuda import driver
from workbench.ops.cuda.kernel import Kernel
from workbench.ops.cuda.selected_logprobs import (
    COLUMNS,
    backward_launches,
    forward_launches,
    forward_splits,
)
from workbench.ops.cuda.shared_prefix import fitted
from workbench.ops.selected_logprobs.chunked import OTHER_BLOCK, Found, Gradients, products
from workbench.ops.selected_logprobs.definition import Inputs


def cuda_forward(inputs: Inputs, wants_slope: bool = False) -> Found:
    """See `chunked`, but for the slope, which the kernels do not make: it is of no elements. A target outside
    the vocabulary gives NaN. Raises `KernelError`."""
    inputs = prepared(inputs)
    hidden = inputs.hidden
    logprobs, lse, target = (hidden.new_empty(len(hidden), dtype=torch.float32) for _ in range(3))
    is_best = hidden.new_empty(len(hidden), dtype=torch.bool)
    splits = forward_splits(inputs, _multiprocessors(hidden.device))
    partials = lse.new_empty(splits, len(hidden)), lse.new_empty(splits, len(hidden))
    driver.run(forward_launches(inputs, logprobs, lse, is_best, target, partials), hidden.device)
    return logprobs, lse, is_best, lse.new_empty(0)


def cuda_backward(
    inputs: Inputs, grad: Tensor, logprobs: Tensor, lse: Tensor, wants_hidden: bool, wants_head: bool
) -> Gradients:
    """Gradients of hidden states, weight and bias from that of the log-probabilities [N]. The kernels make
    those of the logits, a block of the vocabulary at a time; the products with them are PyTorch's."""
    inputs = prepared(inputs)
    blocks = _logit_gradients(inputs, grad.float().contiguous(), logprobs.contiguous(), lse.contiguous())
    return products(inputs, blocks, wants_hidden, wants_head)


def _logit_gradients(
    inputs: Inputs, grad: Tensor, logprobs: Tensor, lse: Tensor
) -> Iterator[tuple[int, Tensor]]:
    count, vocabulary = len(inputs.hidden), len(inputs.weight)
    width = max(1, OTHER_BLOCK // max(1, count) // COLUMNS) * COLUMNS
    for first in range(0, vocabulary, width):
        columns = min(width, vocabulary - first)
        # Pairs of columns are written at once: there is room for a whole tile.
        room = inputs.hidden.new_empty(count, -(-columns // COLUMNS) * COLUMNS)
        driver.run(backward_launches(inputs, grad, logprobs, lse, room, first), room.device)
        yield first, room[:, :columns]


def kernels(inputs: Inputs) -> list[Kernel]:
    """All that a call, forward and backward, may launch; of tensors without memory."""
    one = inputs.hidden.new_empty(1, dtype=torch.float32)
    launches = [
        *forward_launches(inputs, one, one, one, one, (one, one)),
        *backward_launches(inputs, one, one, one, inputs.hidden.new_empty(1, COLUMNS), 0),
    ]
    return [launch.kernel for launch in launches]


def prepared(inputs: Inputs) -> Inputs:
    """The same call in the layouts that the kernels take."""
    bias = None if inputs.bias is None else inputs.bias.contiguous()
    return inputs._replace(
        hidden=fitted(inputs.hidden),
        weight=fitted(inputs.weight),
        targets=inputs.targets.to(torch.int64).contiguous(),
        bias=bias,
    )


def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
