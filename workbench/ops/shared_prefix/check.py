"""How far a path of shared-prefix attention is from the definition in fp64, beside plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from workbench.ops.shared_prefix.definition import Gradients, Inputs, definition, definition_backward

PARTS = (
    "output",
    "query gradient",
    "prefix key gradient",
    "prefix value gradient",
    "key gradient",
    "value gradient",
)


def example(
    shape: tuple[int, int, int, int],
    head: int,
    dtype: torch.dtype,
    device: torch.device | str,
    *,
    heads: int = 6,
    kv_heads: int = 2,
    padded: bool = True,
) -> Inputs:
    """Random inputs of B rows, S queries, a prefix of P and T − S earlier keys; one row sees no own key."""
    batch, queries, prefix, earlier = shape
    own = queries + earlier
    if torch.device(device).type == "meta":
        generator = None
    else:
        generator = torch.Generator(device).manual_seed(batch * 1000 + queries)

    def random(*sizes: int) -> Tensor:
        return torch.randn(*sizes, head, generator=generator, device=device).to(dtype)

    starts = torch.arange(batch, device=device) % own
    ends = own - torch.arange(batch, device=device) % own
    ends[0] = 0
    query = random(batch, queries, heads).transpose(1, 2)
    prefixes = random(kv_heads, prefix), random(kv_heads, prefix)
    owns = random(batch, kv_heads, own), random(batch, kv_heads, own)
    return Inputs(query, *prefixes, *owns, starts if padded else None, ends if padded else None, head**-0.5)


def in_fp64(inputs: Inputs) -> Inputs:
    """The same numbers in fp64."""
    query, prefix_key, prefix_value, key, value = (one.double() for one in inputs[:5])
    return Inputs(query, prefix_key, prefix_value, key, value, inputs.starts, inputs.ends, inputs.scale)


def errors(
    forward: Callable[[Inputs], tuple[Tensor, Tensor]],
    backward: Callable[[Inputs, Tensor, Tensor, Tensor], Gradients],
    inputs: Inputs,
) -> Iterator[tuple[str, float, float]]:
    """Of output and gradients: the error, and the most allowed: twice that of plain PyTorch in the same type,
    and half a unit in the last place, for rounding the result. Both are
    relative to the result, or to the gradient of the output where gradients all but cancel."""
    precise = in_fp64(inputs)
    exact, exact_lse = definition(precise)
    plain, plain_lse = definition(inputs)
    found, lse = forward(inputs)
    grad = (
        torch.cos(torch.arange(exact.numel(), device=exact.device))
        .reshape(exact.shape)
        .to(inputs.query.dtype)
    )
    wanted = (exact, *definition_backward(precise, grad.double(), exact, exact_lse))
    usual = (plain, *definition_backward(inputs, grad, plain, plain_lse))
    got = (found, *backward(inputs, grad, found, lse))
    rounding = torch.finfo(inputs.query.dtype).eps / 2
    terms = float(grad.double().norm())
    for part, one, other, reference in zip(PARTS, got, usual, wanted, strict=True):
        size = float(reference.norm()) if part == "output" else max(terms, float(reference.norm()))
        error, plain_error = (float((made.double() - reference).norm()) / size for made in (one, other))
        yield part, error, 2 * plain_error + rounding
