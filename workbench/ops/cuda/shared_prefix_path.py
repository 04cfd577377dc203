"""The CUDA path of shared-prefix attention: memory for the results, launches, torch's stream."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.cuda import driver
from workbench.ops.cuda.kernel import Kernel
from workbench.ops.cuda.shared_prefix import (
    backward_launches,
    backward_splits,
    decode_launches,
    decode_splits,
    decodes,
    fitted,
    forward_launches,
    prepared,
)
from workbench.ops.shared_prefix.definition import Gradients, Inputs


def cuda_forward(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """See `definition`; scores and sums are in fp32. Raises `KernelError`."""
    inputs = prepared(inputs)
    query = inputs.query
    output = _by_rows(query)
    lse = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
    multiprocessors = _multiprocessors(query.device)
    if not decodes(inputs, multiprocessors):
        driver.run(forward_launches(inputs, output, lse), query.device)
        return output, lse
    splits = decode_splits(inputs, multiprocessors)
    partial = lse.new_empty(sum(splits), *query.shape)
    partial_lse = lse.new_empty(sum(splits), *lse.shape)
    driver.run(decode_launches(inputs, output, lse, partial, partial_lse, splits), query.device)
    return output, lse


def cuda_backward(inputs: Inputs, grad: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of the five tensors, in their order, from that of the output. Raises `KernelError`."""
    inputs = prepared(inputs)
    query, prefix_key, prefix_value, key, value = inputs[:5]
    prefix = torch.empty_like(prefix_key, memory_format=torch.contiguous_format)
    gradients = (_by_rows(query), prefix, torch.empty_like(prefix), _by_rows(key), _by_rows(value))
    lse = lse.contiguous()
    splits = backward_splits(inputs, _multiprocessors(query.device))
    partials = (lse.new_empty(splits, *prefix.shape), lse.new_empty(splits, *prefix.shape))
    launches = backward_launches(
        inputs, fitted(grad), fitted(output), lse, gradients, torch.empty_like(lse), partials
    )
    driver.run(launches, query.device)
    return gradients


def kernels(inputs: Inputs) -> list[Kernel]:
    """All that a call, forward and backward, may launch."""
    query, prefix_key, prefix_value, key, value = (one.to("meta") for one in inputs[:5])
    meta = Inputs(query, prefix_key, prefix_value, key, value, None, None, inputs.scale)
    lse = meta.query.new_empty(meta.query.shape[:3], dtype=torch.float32)
    partials = (lse.new_empty(1), lse.new_empty(1))
    launches = [
        *forward_launches(meta, meta.query, lse),
        *decode_launches(meta, meta.query, lse, lse, lse, (1, 1)),
        *backward_launches(meta, meta.query, meta.query, lse, meta[:5], lse, partials),
    ]
    return [launch.kernel for launch in launches]


def _by_rows(like: Tensor) -> Tensor:
    batch, heads, length, size = like.shape
    return like.new_empty(batch, length, heads, size).transpose(1, 2)


def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
