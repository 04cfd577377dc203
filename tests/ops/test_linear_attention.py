"""Linear attention chunk by chunk and token by token against all pairs at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workbench.ops.linear_attention import State, linear_attention, linear_definition, linear_step

LENGTH, SIZE, CHUNK = 150, 16, 16


def given(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries of four heads, keys and values of two, cos and sin of angles."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, count, LENGTH, SIZE, generator=generator).to(dtype).requires_grad_()
        for count in (4, 2, 2)
    )
    angles = torch.rand(1, LENGTH, SIZE // 2, generator=generator).repeat(1, 1, 2) * 6
    return query, key, value, angles.cos(), angles.sin()


def documents_of(kind: str) -> Tensor | None:
    if kind == "one":
        return None
    if kind == "padded":
        found = torch.zeros(2, LENGTH, dtype=torch.int64)
        found[0, :40], found[1, 140:] = -1, -1
        return found
    found = torch.arange(5).repeat_interleave(torch.tensor([1, 60, 7, 2, 80])).repeat(2, 1)
    found[1, 100:] = 9
    return found


@pytest.mark.parametrize("kind", ["one", "packed", "padded"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_chunks_give_what_all_pairs_give(kind: str, dtype: torch.dtype) -> None:
    query, key, value, cos, sin = given(dtype)
    documents = documents_of(kind)
    found, _ = linear_attention(query, key, value, cos, sin, documents=documents, chunk=CHUNK)
    grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    if documents is not None:
        # What padding gets is nobody's business.
        real = (documents >= 0)[:, None, :, None]
        grad = grad * real
    else:
        real = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    mine = (found * real, *torch.autograd.grad(found, (query, key, value), grad))
    precise = [one.detach().double().requires_grad_() for one in (query, key, value)]
    wanted = linear_definition(precise[0], precise[1], precise[2], cos.double(), sin.double(), documents)
    true = (wanted * real, *torch.autograd.grad(wanted, precise, grad.double()))
    for one, other in zip(mine, true, strict=True):
        error = float(((one - other).abs().max() / other.abs().max()).detach())
        assert error < 32 * torch.finfo(dtype).eps


@torch.no_grad()
def test_a_state_goes_on_where_it_stopped() -> None:
    """In chunks of any size, then token by token; behind padding on the left too."""
    query, key, value, cos, sin = given(torch.float32)
    for kind in ("one", "padded"):
        documents = documents_of(kind)
        if documents is not None:
            documents[1] = 0
        wanted = linear_definition(query, key, value, cos, sin, documents)
        state: State | None = None
        outputs = []
        for low, high in ((0, 100), (100, 120)):
            place = slice(low, high)
            output, state = linear_attention(
                query[:, :, place],
                key[:, :, place],
                value[:, :, place],
                cos[:, place],
                sin[:, place],
                documents=None if documents is None else documents[:, place],
                state=state,
                chunk=CHUNK,
            )
            outputs.append(output)
        assert state is not None
        for number in range(120, LENGTH):
            place = slice(number, number + 1)
            parts = query[:, :, place], key[:, :, place], value[:, :, place]
            outputs.append(linear_step(*parts, cos[:, place], sin[:, place], state))
        found = torch.cat(outputs, 2)
        first = 40 if kind == "padded" else 0
        difference = (found - wanted)[:, :, first:].abs().max()
        assert float(difference / wanted.abs().max()) < 32 * torch.finfo(torch.float32).eps


@torch.no_grad()
def test_a_state_is_of_the_last_document_alone() -> None:
    query, key, value, cos, sin = given(torch.float32)
    documents = torch.zeros(2, LENGTH, dtype=torch.int64)
    documents[:, 90:] = 1
    _, packed = linear_attention(query, key, value, cos, sin, documents=documents, chunk=CHUNK)
    last = [one[:, :, 90:] for one in (query, key, value)]
    _, alone = linear_attention(last[0], last[1], last[2], cos[:, 90:], sin[:, 90:], chunk=CHUNK)
    torch.testing.assert_close(packed.values, alone.values)
    torch.testing.assert_close(packed.norm, alone.norm)
