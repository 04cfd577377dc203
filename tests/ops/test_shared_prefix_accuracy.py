"""Shared-prefix attention against the definition in fp64: errors beside those of plain PyTorch in the same
type. Every path; the native one also by threads, layouts, head sizes and levels of instructions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.ops.shared_prefix import native
from workbench.ops.shared_prefix.definition import Inputs, definition, definition_backward, visible_own
from workbench.ops.shared_prefix.paths import PATHS, Name

HEADS, KV_HEADS = 6, 2
EPSILON = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
# Queries, batch, prefix, and whether there is padding on both sides. All 48 were run once.
CASES = [
    (1, 1, 1, False),
    (1, 1, 513, True),
    (1, 17, 513, True),
    (3, 1, 20, True),
    (3, 17, 1, True),
    (3, 17, 513, False),
    (65, 1, 513, True),
    (65, 17, 20, True),
    (257, 1, 20, False),
    (257, 1, 513, True),
]
Six = tuple[Tensor, ...]


def case(
    queries: int, batch: int, prefix: int, is_padded: bool, dtype: torch.dtype, size: int = 64
) -> tuple[Inputs, Tensor]:
    """Inputs whose query and values lie in memory as models have them, and a gradient of the output. Where
    there is padding, it is uneven, and the first row sees none of its own keys."""
    generator = torch.Generator().manual_seed(batch * 1000 + queries * 10 + prefix)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    own = queries + 3 * is_padded
    starts = ends = None
    if is_padded:
        starts = torch.randint(0, own, (batch,), generator=generator)
        ends = torch.randint(1, own + 1, (batch,), generator=generator)
        starts[0], ends[0] = own, 0
    made = Inputs(
        random(batch, queries, HEADS, size).transpose(1, 2),
        random(KV_HEADS, prefix, size),
        random(KV_HEADS, prefix, size),
        random(batch, KV_HEADS, own, size),
        random(batch, own, KV_HEADS, size).transpose(1, 2),
        starts,
        ends,
        size**-0.5,
    )
    return made, random(batch, HEADS, queries, size)


def exact(given: Inputs) -> Inputs:
    return Inputs._make((*(x.double() for x in given[:5]), *given[5:]))


def all_six(path: Name, given: Inputs, grad: Tensor) -> Six:
    """Output and the five gradients."""
    output, lse = PATHS[path].forward(given)
    return output, *PATHS[path].backward(given, grad, output, lse)


def plain(given: Inputs, grad: Tensor) -> Six:
    """The same by autograd from the definition, in the type given."""
    five = [x.clone().requires_grad_() for x in given[:5]]
    output, _ = definition(Inputs._make((*five, *given[5:])))
    return output.detach(), *torch.autograd.grad(output, five, grad)


def attended(given: Inputs, grad: Tensor) -> Six:
    """The same by PyTorch's own attention over a copy, its keys repeated over the heads, as PEFT's way is."""
    query, prefix_key, prefix_value, key, value = five = [x.clone().requires_grad_() for x in given[:5]]
    batch, prefix = len(query), prefix_key.shape[1]
    keys, values = (
        torch.cat([shared.expand(batch, *shared.shape), own], 2).repeat_interleave(HEADS // KV_HEADS, 1)
        for shared, own in ((prefix_key, key), (prefix_value, value))
    )
    seen = visible_own(query.shape[2], key.shape[2], given.starts, given.ends, "cpu")
    seen = torch.nn.functional.pad(seen, (prefix, 0), value=True)[:, None].expand(batch, -1, -1, -1)
    output = scaled_dot_product_attention(query, keys, values, seen, scale=given.scale)
    return output.detach(), *torch.autograd.grad(output, five, grad)


def summands(given: Inputs, grad: Tensor) -> tuple[float, ...]:
    """Of the output its norm, of each gradient the root of the sum of the squares of its summands: rounding
    each of those by a part ε, independently, makes an error of ε times this, whatever cancels. The slope of a
    weight counts as two, which cancel where a query sees but one key."""

    def by_head(x: Tensor) -> Tensor:
        return x.reshape(len(x), KV_HEADS, -1, *x.shape[2:])

    output, lse = definition(given)
    rows, grads, prefix = by_head(given.query), by_head(grad), given.prefix_key.shape[1]
    keys, values = (
        torch.cat([shared.expand(len(rows), *shared.shape), own], 2)
        for shared, own in ((given.prefix_key, given.key), (given.prefix_value, given.value))
    )
    seen = visible_own(given.query.shape[2], given.key.shape[2], given.starts, given.ends, "cpu")
    seen = torch.nn.functional.pad(seen, (prefix, 0), value=True)[:, None, None]
    scores = torch.einsum("bkgsd,bktd->bkgst", rows, keys) * given.scale
    weights = (scores - by_head(lse)[..., None]).exp() * seen
    slopes = torch.einsum("bkgsd,bktd->bkgst", grads, values).abs()
    slopes = slopes + by_head((grad * output).sum(-1).abs())[..., None]
    changes = (weights * slopes * given.scale).square()
    of_query = torch.einsum("bkgst,bktd->bkgsd", changes, keys.square())
    of_keys = torch.einsum("bkgst,bkgsd->bktd", changes, rows.square())
    of_values = torch.einsum("bkgst,bkgsd->bktd", weights.square(), grads.square())
    shared = (of_keys[:, :, :prefix], of_values[:, :, :prefix])
    own = (of_keys[:, :, prefix:], of_values[:, :, prefix:])
    return tuple(math.sqrt(float(x.sum())) for x in (output.square(), of_query, *shared, *own))


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("shape", CASES)
def test_errors_are_at_most_twice_those_of_pytorchs_attention(
    shape: tuple[int, int, int, bool], dtype: torch.dtype
) -> None:
    given, grad = case(*shape, dtype)
    precise = exact(given)
    output, lse = definition(precise)
    expected = output, *definition_backward(precise, grad.double(), output, lse)
    for one, other, wanted in zip(
        all_six("native", given, grad), attended(given, grad), expected, strict=True
    ):
        assert float((one.double() - wanted).norm()) <= 2 * float((other.double() - wanted).norm())


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("shape", CASES)
def test_errors_beside_those_of_plain_pytorch(shape: tuple[int, int, int, bool], dtype: torch.dtype) -> None:
    queries, batch, prefix, _ = shape
    given, grad = case(*shape, dtype)
    precise, precise_grad = exact(given), grad.double()
    output, lse = definition(precise)
    expected = output, *definition_backward(precise, precise_grad, output, lse)
    plain_errors = [float((x.double() - y).norm()) for x, y in zip(plain(given, grad), expected, strict=True)]
    found = {path: all_six(path, given, grad) for path in ("native", "composed", "concatenated")}

    # The log-sum-exp, ⟨dO, O⟩ and every product of the softmax are fp32 whatever the type, and each rounding
    # of theirs can be seen where the gradient all but cancels: two for each summand.
    for one, other, error, size in zip(
        found["native"], expected, plain_errors, summands(precise, precise_grad), strict=True
    ):
        assert float((one.double() - other).norm()) <= 2 * error + 2 * EPSILON[torch.float32] * size

    # PyTorch's flash backward adds all rows one after another in the type of its blocks: its error over many
    # grows as a random walk does.
    walk = math.sqrt(batch * queries * HEADS / KV_HEADS)
    for path in ("composed", "concatenated"):
        slack = [EPSILON[dtype] * float(output.norm())]
        least = float(precise_grad.norm())
        slack += [max(8, walk) * EPSILON[dtype] * max(least, float(x.norm())) for x in expected[1:]]
        for one, other, error, more in zip(found[path], expected, plain_errors, slack, strict=True):
            assert float((one.double() - other).norm()) <= 2 * error + more, path


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("shape", [(1, 5, 700, True), (65, 3, 130, True), (200, 1, 300, False)])
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, int, int, bool], dtype: torch.dtype) -> None:
    given, grad = case(*shape, dtype)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(all_six("native", given, grad))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


def test_how_things_lie_in_memory_changes_no_bit() -> None:
    given, grad = case(7, 3, 40, True, torch.bfloat16)
    expected = all_six("native", given, grad)
    # Contiguous; every other number of wider rows, which are copied; with bounds of 32 bits.
    wide = [torch.stack([x, x], -1).flatten(-2)[..., ::2] for x in (*given[:5], grad)]
    bounds = [x.int() for x in given[5:7] if x is not None]
    for five, other in (([x.contiguous() for x in given[:5]], grad), (wide[:5], wide[5])):
        moved = Inputs._make((*five, *bounds, given.scale))
        assert all(torch.equal(x, y) for x, y in zip(all_six("native", moved, other), expected, strict=True))


LEVELS: dict[str, tuple[str, ...]] = {
    "this processor": (),
    "portable": ("-DWORKBENCH_PORTABLE",),
}


@pytest.mark.parametrize("level", LEVELS)
def test_head_sizes_and_levels_of_instructions(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = native.compiled(*LEVELS[level])
    monkeypatch.setattr(native, "library", lambda: found)
    for dtype in EPSILON:
        for size in (16, 80, 96, 128):
            given, grad = case(37, 3, 70, True, dtype, size)
            output, lse = definition(exact(given))
            expected = output, *definition_backward(exact(given), grad.double(), output, lse)
            sizes = summands(exact(given), grad.double())
            for one, two, three, room in zip(
                all_six("native", given, grad), plain(given, grad), expected, sizes, strict=True
            ):
                error, allowed = (one.double() - three).norm(), (two.double() - three).norm()
                assert float(error) <= 2 * float(allowed) + 2 * EPSILON[torch.float32] * room


def test_no_rows_are_no_work() -> None:
    given, grad = case(3, 1, 5, False, torch.float32)
    empty = Inputs(given.query[:0], *given[1:3], given.key[:0], given.value[:0], None, None, 1.0)
    found = all_six("native", empty, grad[:0])
    assert found[0].shape == (0, HEADS, 3, 64) and not found[2].any() and not found[3].any()
