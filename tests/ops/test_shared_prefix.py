"""Shared-prefix attention: the paths against the definition in fp64, the definition against PyTorch's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.ops.native import NativeCodeError
from workbench.ops.shared_prefix import attention, native
from workbench.ops.shared_prefix.attention import shared_prefix_attention
from workbench.ops.shared_prefix.definition import Inputs, definition, definition_backward, visible_own
from workbench.ops.shared_prefix.paths import PATHS, Name, choose

HEADS, KV_HEADS, SIZE = 6, 2, 64


def tensors(
    batch: int,
    queries: int,
    prefix: int,
    earlier: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    size: int = SIZE,
) -> list[Tensor]:
    """Query, prefix keys and values, own keys and values; the query lies in memory as models have it."""
    generator = torch.Generator().manual_seed(batch * 1000 + queries * 10 + prefix)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    own = (batch, KV_HEADS, queries + earlier, size)
    query = random(batch, queries, HEADS, size).transpose(1, 2)
    made = [query, random(KV_HEADS, prefix, size), random(KV_HEADS, prefix, size), random(*own), random(*own)]
    return [tensor.detach().requires_grad_() for tensor in made]


def inputs(five: Sequence[Tensor], starts: Tensor | None, ends: Tensor | None, scale: float) -> Inputs:
    query, prefix_key, prefix_value, key, value = five
    return Inputs(query, prefix_key, prefix_value, key, value, starts, ends, scale)


def padding(batch: int, own: int) -> tuple[Tensor, Tensor]:
    """Uneven on both sides; the first row sees none of its own keys."""
    generator = torch.Generator().manual_seed(own)
    starts = torch.randint(0, own, (batch,), generator=generator)
    ends = torch.randint(1, own + 1, (batch,), generator=generator)
    starts[0], ends[0] = own, 0
    return starts, ends


@pytest.mark.parametrize("earlier", [0, 5])
def test_the_definition_is_attention_over_prefix_and_own_keys(earlier: int) -> None:
    query, prefix_key, prefix_value, key, value = tensors(3, 9, 7, earlier)
    starts, ends = torch.tensor([0, 2, 4]), torch.tensor([9 + earlier, 8, 9 + earlier])
    found, lse = definition(Inputs(query, prefix_key, prefix_value, key, value, starts, ends, 0.2))
    seen = visible_own(9, 9 + earlier, starts, ends, "cpu")
    mask = torch.nn.functional.pad(seen, (7, 0), value=True)[:, None]
    keys, values = (
        torch.cat([prefix.expand(3, -1, -1, -1), own], 2)
        for prefix, own in ((prefix_key, key), (prefix_value, value))
    )
    expected = scaled_dot_product_attention(query, keys, values, mask, scale=0.2, enable_gqa=True)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    scores = query @ keys.repeat_interleave(HEADS // KV_HEADS, 1).mT * 0.2
    expected_lse = scores.masked_fill(~mask, -torch.inf).logsumexp(-1)
    torch.testing.assert_close(lse, expected_lse, atol=1e-6, rtol=1e-5)


def test_gradcheck_of_the_definition_in_fp64() -> None:
    five = [tensor.detach().double().requires_grad_() for tensor in tensors(2, 3, 4, 1, size=5)]
    starts, ends = torch.tensor([0, 2]), torch.tensor([3, 4])

    rest: tuple[Any, ...] = (starts, ends, 0.4)

    def outputs(*five: Any) -> Tensor:
        return definition(inputs(five, *rest))[0]

    assert torch.autograd.gradcheck(outputs, five)
    output, lse = definition(inputs(five, *rest))
    grad = torch.randn_like(output)
    written_out = definition_backward(inputs(five, *rest), grad, output, lse)
    for one, other in zip(written_out, torch.autograd.grad(output, five, grad), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("path", PATHS)
def test_the_log_sum_exp_is_that_of_all_keys(path: Name) -> None:
    five = tensors(3, 5, 20, 2)
    given = inputs(five, *padding(3, 7), 0.1)
    _, expected = definition(given)
    _, found = PATHS[path].forward(given)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("queries", "earlier"), [(7, 0), (1, 3), (64, 0)])
def test_it_is_an_operator_of_pytorch(path: Name, queries: int, earlier: int) -> None:
    own = queries + earlier
    five = tensors(2, queries, 70, earlier)
    bounds = torch.tensor([0, 2]), torch.tensor([own, own])
    torch.library.opcheck(attention._attention, (*five, *bounds, 0.125, path))

    def loss(*five: Tensor) -> Tensor:
        return shared_prefix_attention(*five, starts=bounds[0], ends=bounds[1], path=path).square().sum()

    torch.compiler.reset()  # or the cases would count as recompilations of one function
    compiled: Any = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, other in zip(
        torch.autograd.grad(compiled(*five), five), torch.autograd.grad(loss(*five), five), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_choice_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (inputs(tensors(2, 8, length), None, None, 1.0) for length in (1, 2048))
    assert choose(short).path == choose(long).path == "native"
    odd = choose(inputs(tensors(2, 8, 5, size=20), None, None, 1.0))
    assert odd.path == "concatenated" and "multiples of 16 up to 256, not 20" in odd.reason
    assert "float64" in choose(inputs(tensors(2, 8, 5, dtype=torch.float64), None, None, 1.0)).reason
    # The answer of a process without a compiler, or told not to use one.
    monkeypatch.setattr(native, "library", lambda: "no C++ compiler: c++ not found")
    assert (choose(short).path, choose(long).path) == ("concatenated", "composed")
    assert "prefix of 1 " in choose(short).reason and "prefix of 2048" in choose(long).reason
    assert all(choose(each).reason.endswith("no C++ compiler: c++ not found") for each in (short, long))
    shared_prefix_attention(*long[:5])
    with pytest.raises(NativeCodeError, match="no C\\+\\+ compiler"):
        shared_prefix_attention(*long[:5], path="native")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: (2, 5, 3, 64)}, "5 query heads are no multiple of 2"),
        ({1: (3, 4, 64)}, r"prefix_key is \[3, 4, 64\]"),
        ({2: (2, 5, 64)}, "prefix_value"),
        ({1: (2, 0, 64), 2: (2, 0, 64)}, "a prefix of no positions"),
        ({3: (2, 2, 2, 64), 4: (2, 2, 2, 64)}, "3 queries with only 2 own keys"),
        ({4: (1, 2, 3, 64)}, "value"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[int, tuple[int, ...]], words: str) -> None:
    five = tensors(2, 3, 4)
    for place, shape in change.items():
        five[place] = torch.zeros(shape)
    with pytest.raises(ValueError, match=words):
        shared_prefix_attention(*five)


def test_types_that_do_not_fit_are_named() -> None:
    query, *others = tensors(2, 3, 4)
    with pytest.raises(ValueError, match="^key is of torch.float32, query of torch.bfloat16"):
        shared_prefix_attention(query.bfloat16(), *others)
    with pytest.raises(ValueError, match="starts is of torch.float32"):
        shared_prefix_attention(query, *others, starts=torch.zeros(2))
