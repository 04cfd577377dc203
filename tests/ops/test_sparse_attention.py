"""Sparse attention by pieces against its definition, and what it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.ops.sparse_attention import parts
from workbench.ops.sparse_attention.attention import sparse_attention
from workbench.ops.sparse_attention.definition import definition
from workbench.ops.sparse_attention.pattern import Pattern

LENGTH, SIZE = 77, 16
PATTERNS = [
    Pattern(5),
    Pattern(20),
    Pattern(5, global_tokens=3),
    Pattern(17, global_tokens=40),
    Pattern(5, stride=4),
    Pattern(3, stride=7),
    Pattern(16, stride=16),
]


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short row has many."""
    monkeypatch.setattr(parts, "LEAST_SPAN", 8)


def heads(dtype: torch.dtype, length: int = LENGTH, rows: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of four heads, keys and values of two."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(rows, count, length, SIZE, generator=generator).to(dtype).requires_grad_()
        for count in (4, 2, 2)
    )
    return query, key, value


def documents_of(kind: str) -> Tensor | None:
    if kind == "one":
        return None
    if kind == "padded":
        found = torch.zeros(2, LENGTH, dtype=torch.int64)
        found[0, :20], found[1, 60:] = -1, -1
        return found
    sizes = torch.tensor([1, 30, 7, 2, 37])
    found = torch.arange(5).repeat_interleave(sizes).repeat(2, 1)
    found[1, 50:] = 9
    return found


@pytest.mark.parametrize("kind", ["one", "packed", "padded"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_output_and_gradients_are_those_of_the_definition(pattern: Pattern, kind: str) -> None:
    """In fp32 and bf16 against fp64: within a few roundings of the precision."""
    documents = documents_of(kind)
    known = torch.zeros(2, LENGTH, dtype=torch.int64) if documents is None else documents
    for dtype in (torch.float32, torch.bfloat16):
        given = heads(dtype)
        found = sparse_attention(*given, pattern, documents=documents)
        grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        mine = (found, *torch.autograd.grad(found, given, grad))
        precise = [one.detach().double().requires_grad_() for one in given]
        wanted = definition(precise[0], precise[1], precise[2], pattern, known, SIZE**-0.5)
        true = (wanted, *torch.autograd.grad(wanted, precise, grad.double()))
        for one, other in zip(mine, true, strict=True):
            error = float(((one - other).abs().max() / other.abs().max()).detach())
            assert error < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("pattern", [Pattern(LENGTH), Pattern(500, global_tokens=2), Pattern(3, stride=1)])
def test_what_leaves_nothing_out_is_full_attention(pattern: Pattern) -> None:
    query, key, value = heads(torch.float32)
    full = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    assert torch.equal(sparse_attention(query, key, value, pattern), full)


@pytest.mark.parametrize("pattern", [Pattern(16), Pattern(16, global_tokens=4), Pattern(16, stride=16)])
def test_what_is_kept_grows_with_the_length_and_not_with_its_square(pattern: Pattern) -> None:
    def kept(length: int) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            sparse_attention(*heads(torch.float32, length, rows=1), pattern)
        return sum(sizes)

    # Queries, keys, values, the output, and one number for each query and head.
    assert kept(256) == 256 * (4 * SIZE * 2 + 2 * SIZE * 2 + 4)
    assert kept(512) == 2 * kept(256)


def test_pieces_compute_little_more_than_is_seen() -> None:
    local = parts.Local(Pattern(64), 1, 4096, None, torch.device("cpu"))
    key = torch.zeros(1, 1, 4096, 2)
    pairs = local.fold(key).shape[0] * local.span * local.keys(key).shape[2]
    assert pairs <= 4096 * 64 * 1.6


def test_global_tokens_and_a_stride_are_two_patterns() -> None:
    with pytest.raises(ValueError, match="two patterns"):
        Pattern(4, 1, 4)
    with pytest.raises(ValueError, match="beside a window"):
        Pattern(None, 1)
