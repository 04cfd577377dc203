"""Level B: the PTX that NVRTC emitted for shared-prefix attention, from the launches the driver would get."""

from __future__ import annotations

import ptx_machine
import ptx_memory
import pytest
import torch
from shared_prefix_kernels import EPSILON, Case, Made, make, relative

from workbench.ops.cuda.shared_prefix import (
    backward_launches,
    decode_launches,
    fitted,
    forward_launches,
    prepared,
    unsupported,
)
from workbench.ops.shared_prefix.check import in_fp64
from workbench.ops.shared_prefix.definition import Inputs, definition_backward

TYPES = (torch.bfloat16, torch.float32)
CASE = Case(2, 5, 70, 3, True, heads=4)


def written(made: Made) -> tuple[torch.Tensor, torch.Tensor]:
    query = made.inputs.query
    return torch.full_like(query, torch.nan), torch.full(query.shape[:3], torch.nan)


def of(inputs: Inputs) -> list[torch.Tensor]:
    return [one for one in inputs[:7] if one is not None]


def check(found: torch.Tensor, plain: torch.Tensor, exact: torch.Tensor, unit: float) -> None:
    assert relative(found, exact) <= max(2 * relative(plain, exact), unit / 2)


@pytest.mark.parametrize("dtype", [*TYPES, torch.float16], ids=str)
def test_forward(dtype: torch.dtype) -> None:
    made = make(CASE, 64, dtype)
    assert unsupported(made.inputs) is None
    output, lse = written(made)
    ptx_machine.run(forward_launches(made.inputs, output, lse), [*of(made.inputs), output, lse])
    check(output, made.plain[0], made.exact[0], EPSILON[dtype])
    check(lse, made.plain[1], made.exact[1], EPSILON[torch.float32])


@pytest.mark.parametrize("head", [96, 128])
def test_forward_of_other_heads(head: int) -> None:
    made = make(Case(1, 3, 5), head, torch.bfloat16)
    output, lse = written(made)
    ptx_machine.run(forward_launches(made.inputs, output, lse), [*of(made.inputs), output, lse])
    check(output, made.plain[0], made.exact[0], EPSILON[torch.bfloat16])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_decode(dtype: torch.dtype) -> None:
    made = make(Case(3, 1, 70, 6, True), 64, dtype)
    output, lse = written(made)
    partial, partial_lse = torch.full((3, *output.shape), torch.nan), torch.full((3, *lse.shape), torch.nan)
    launches = decode_launches(made.inputs, output, lse, partial, partial_lse, (2, 1))
    ptx_machine.run(launches, [*of(made.inputs), output, lse, partial, partial_lse])
    check(output, made.plain[0], made.exact[0], EPSILON[dtype])
    check(lse, made.plain[1], made.exact[1], EPSILON[torch.float32])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_backward(dtype: torch.dtype) -> None:
    made = make(CASE, 64, dtype)
    inputs, (output, lse) = made.inputs, (made.exact[0].to(dtype), made.exact[1].float().contiguous())
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    query_grad, key_grad, value_grad = (
        torch.full_like(one, torch.nan) for one in (inputs.query, *inputs[3:5])
    )
    prefix = [torch.full(inputs.prefix_key.shape, torch.nan, dtype=dtype) for _ in range(2)]
    gradients = (query_grad, prefix[0], prefix[1], key_grad, value_grad)
    partials = (torch.full((2, *prefix[0].shape), torch.nan), torch.full((2, *prefix[0].shape), torch.nan))
    delta = torch.full_like(lse, torch.nan)
    launches = backward_launches(inputs, grad, output, lse, gradients, delta, partials)
    ptx_machine.run(launches, [*of(inputs), grad, output, lse, *gradients, delta, *partials])
    precise = in_fp64(inputs)
    exact = definition_backward(precise, grad.double(), *made.exact)
    plain = definition_backward(inputs, grad, output, lse)
    for found, other, expected in zip(gradients, plain, exact, strict=True):
        check(found, other, expected, EPSILON[dtype])


def test_tensors_that_do_not_fit_are_copied() -> None:
    whole = torch.randn(2, 3, 4, 72)
    assert fitted(whole[..., :64]).data_ptr() == whole.data_ptr()
    assert fitted(whole.transpose(1, 2)).data_ptr() == whole.data_ptr()
    for odd in (whole[..., 1:65], whole.mT, torch.randn(2, 3, 4, 65)[..., :64]):
        copied = fitted(odd)
        assert copied.is_contiguous() and copied.data_ptr() % 16 == 0 and torch.equal(copied, odd)
    inputs = make(Case(2, 3, 5, padded=True), 64, torch.float32).inputs
    assert inputs.starts is not None
    found = prepared(inputs._replace(starts=inputs.starts.long())).starts
    assert found is not None and found.dtype == torch.int32


@pytest.mark.parametrize(
    ("head", "dtype", "words"), [(80, torch.float32, "not 80"), (64, torch.float64, "not torch.float64")]
)
def test_what_the_kernels_do_not_take_is_told(head: int, dtype: torch.dtype, words: str) -> None:
    inputs = make(Case(1, 1, 1), head, torch.float32).inputs
    query, prefix_key, prefix_value, key, value = (one.to(dtype) for one in inputs[:5])
    reason = unsupported(Inputs(query, prefix_key, prefix_value, key, value, None, None, inputs.scale))
    assert reason is not None and words in reason


def test_a_buffer_that_is_too_small_is_a_fault() -> None:
    made = make(Case(1, 3, 5), 64, torch.bfloat16)
    output, lse = written(made)
    launches = forward_launches(made.inputs, output, lse)
    with pytest.raises(ptx_memory.Fault, match="outside of all tensors"):
        ptx_machine.run(launches, [*of(made.inputs), output[:, :-1], lse])
