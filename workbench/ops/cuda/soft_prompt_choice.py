"""Which path soft-prompt embedding takes on a card: see `verdicts`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from workbench.ops.cuda.soft_prompt import unsupported
from workbench.ops.cuda.soft_prompt_path import cuda_backward, cuda_forward, kernels
from workbench.ops.cuda.verdicts import CUDA, Case, Check, Verdict, verdict
from workbench.ops.soft_prompt.composed import composed_gradient
from workbench.ops.soft_prompt.definition import Inputs, definition

Forward = Callable[[Inputs], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor | None], Tensor]
WAYS: dict[str, tuple[Forward, Backward]] = {
    CUDA: (cuda_forward, cuda_backward),
    "definition": (definition, composed_gradient),
}
CASE = "8 rows of 256 tokens"
VOCABULARY = 1024


def choose(inputs: Inputs) -> tuple[str, str]:
    """The path of a call on a CUDA device, and the reason in words."""
    if obstacle := unsupported(inputs.table, inputs.prompt):
        return "definition", f"our kernels do not take it: {obstacle}"
    table, prompt = inputs.table, inputs.prompt
    found: tuple[str, str] = _told(table.device.index or 0, table.shape[1], table.dtype, prompt.dtype)
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _told(index: int, size: int, dtype: torch.dtype, prompt: torch.dtype) -> tuple[str, str]:
    found = _verdict(index, size, dtype, prompt)
    return found.taken[CASE], f"{CASE}: {found.reason(CASE)}"


@cache
def _verdict(index: int, size: int, dtype: torch.dtype, prompt: torch.dtype) -> Verdict:
    device = torch.device("cuda", index)
    checks: dict[str, Check] = {
        CUDA: lambda: compare(*WAYS[CUDA], example(3, 5, 4, size, dtype, prompt, device)),
        "definition": lambda: "",
    }
    cases: dict[str, Case] = {
        CASE: lambda name: _call(example(8, 256, 20, size, dtype, prompt, device), name)
    }
    wanted = kernels(example(1, 1, 1, size, dtype, prompt, torch.device("meta")))
    return verdict(f"soft-prompt embedding of {size}, {dtype}, {prompt}", device, wanted, checks, cases)


def example(
    batch: int,
    tokens: int,
    virtual: int,
    size: int,
    dtype: torch.dtype,
    prompt: torch.dtype,
    device: torch.device,
) -> Inputs:
    """Rows that have one of two soft prompts each; tokens are scaled."""
    ids = torch.arange(batch * tokens, device=device).reshape(batch, tokens) % VOCABULARY
    numbers = torch.arange((VOCABULARY + 2 * virtual) * size, device=device).cos().reshape(-1, size)
    table, learned = numbers[:VOCABULARY], numbers[VOCABULARY:].reshape(2, virtual, size)
    return Inputs(ids, table.to(dtype), learned.to(prompt), torch.arange(batch, device=device) % 2, 3.0)


def compare(forward: Forward, backward: Backward, inputs: Inputs) -> str:
    """Embeddings are copied and rounded, the same everywhere; sums of rows agree as far as fp32 does."""
    output, expected = forward(inputs), definition(inputs)
    if not torch.equal(output, expected):
        return "its embeddings are not the table's and the prompt's: please report it"
    exact = composed_gradient(expected.double(), inputs.prompt.double(), inputs.prompt_index)
    found = backward(expected, inputs.prompt, inputs.prompt_index)
    error = float((found.double() - exact).norm() / exact.norm())
    if not error <= torch.finfo(inputs.prompt.dtype).eps:
        return f"it errs by {error:.1e} in the prompt's gradient: please report it"
    return ""


def _call(inputs: Inputs, name: str) -> Callable[[], object]:
    forward, backward = WAYS[name]
    return lambda: backward(forward(inputs), inputs.prompt, inputs.prompt_index)
