"""The kernels of soft-prompt embedding on the CPU: their parameters and launches."""

from __future__ import annotations

import torch
from kernel_emulator import Emulator, Launch, Schedule
from torch import Tensor

from workbench.ops.cuda.soft_prompt import EmbeddingBackwardParams, EmbeddingParams
from workbench.ops.soft_prompt.definition import Inputs

NAMES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
SOURCES = ("soft_prompt_embedding.cu", "soft_prompt_embedding_backward.cu")
THREADS, WARP = 128, 32


def definitions(inputs: Inputs) -> list[str]:
    """The macros that choose a variant."""
    names = [NAMES[inputs.table.dtype]]
    return names + (["PROMPT_FP32"] if inputs.prompt.dtype != inputs.table.dtype else [])


def embed(kernels: Emulator, inputs: Inputs, schedule: Schedule) -> Tensor:
    """The output, all of it 7 before."""
    ids, table, prompt, index, scale = inputs
    (batch, tokens), (virtual, size) = ids.shape, prompt.shape[-2:]
    output = torch.full((batch, virtual + tokens, size), 7.0, dtype=table.dtype)
    params = EmbeddingParams(
        table=table.data_ptr(),
        ids=ids.data_ptr(),
        prompt=prompt.data_ptr(),
        index=None if index is None else index.data_ptr(),
        output=output.data_ptr(),
        vocabulary=len(table),
        prompts=1 if index is None else len(prompt),
        batch=batch,
        tokens=tokens,
        virtual_tokens=virtual,
        size=size,
        scale=1.0 if scale is None else scale,
    )
    grid = -(-batch * (virtual + tokens) // (THREADS // WARP)), 1, 1
    launch = Launch("soft_prompt_embedding", grid, (THREADS, 1, 1), 0, params)
    read = [table, ids, prompt.detach(), *([] if index is None else [index])]
    kernels.run([launch], [*read, output], schedule)
    return output


def prompt_gradient(kernels: Emulator, inputs: Inputs, grad: Tensor, schedule: Schedule) -> Tensor:
    """The prompt's gradient, all of it 7 before, from that of the output."""
    ids, table, prompt, index, _ = inputs
    (batch, tokens), (virtual, size) = ids.shape, prompt.shape[-2:]
    found = torch.full(prompt.shape, 7.0, dtype=prompt.dtype)
    prompts = 1 if index is None else len(prompt)
    params = EmbeddingBackwardParams(
        grad=grad.data_ptr(),
        index=None if index is None else index.data_ptr(),
        prompt_grad=found.data_ptr(),
        batch=batch,
        tokens=tokens,
        virtual_tokens=virtual,
        prompts=prompts,
        size=size,
    )
    pieces = virtual * size * table.element_size() // 16
    launch = Launch(
        "soft_prompt_embedding_backward", (-(-pieces // THREADS), prompts, 1), (THREADS, 1, 1), 0, params
    )
    kernels.run([launch], [grad, found, *([] if index is None else [index])], schedule)
    return found
