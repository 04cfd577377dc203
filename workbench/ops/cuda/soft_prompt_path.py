"""The CUDA path of soft-prompt embedding: memory for the results, launches, torch's stream."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.cuda import driver
from workbench.ops.cuda.kernel import Kernel
from workbench.ops.cuda.shared_prefix import fitted
from workbench.ops.cuda.soft_prompt import embedding_backward_launches, embedding_launches
from workbench.ops.soft_prompt.definition import Inputs


def cuda_forward(inputs: Inputs) -> Tensor:
    """See `definition`; rows of tokens or prompts that there are not become NaN. Raises `KernelError`."""
    ids, table, prompt, index, scale = inputs
    table, prompt = (fitted(one.contiguous()) for one in (table, prompt))
    output = table.new_empty(len(ids), prompt.shape[-2] + ids.shape[1], table.shape[1])
    which = None if index is None else _whole(index)
    launches = embedding_launches(_whole(ids), table, prompt, which, scale, output)
    driver.run(launches, table.device)
    return output


def cuda_backward(grad: Tensor, prompt: Tensor, index: Tensor | None) -> Tensor:
    """The prompt's gradient, of its shape and type, the rows summed in fp32. Raises `KernelError`."""
    found = torch.empty_like(prompt, memory_format=torch.contiguous_format)
    which = None if index is None else _whole(index)
    launches = embedding_backward_launches(fitted(grad.contiguous()), which, found)
    driver.run(launches, grad.device)
    return found


def kernels(inputs: Inputs) -> list[Kernel]:
    """All that a call, forward and backward, may launch; of tensors without memory."""
    ids, table, prompt, index, scale = inputs
    launches = [
        *embedding_launches(ids, table, prompt, index, scale, table),
        *embedding_backward_launches(table.new_empty(1, prompt.shape[-2], table.shape[1]), index, prompt),
    ]
    return [launch.kernel for launch in launches]


def _whole(places: Tensor) -> Tensor:
    """As the kernels read them."""
    return places.to(torch.int64).contiguous()
