"""Level B: the PTX of soft-prompt embedding and selected log-probabilities."""

from __future__ import annotations

import ptx_machine
import pytest
import torch

from workbench.ops.cuda import selected_logprobs, soft_prompt
from workbench.ops.selected_logprobs.definition import Inputs, definition
from workbench.ops.soft_prompt.definition import Inputs as EmbeddingInputs
from workbench.ops.soft_prompt.definition import definition as embedding

EPSILON = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-23}


@pytest.mark.parametrize(("dtype", "prompt_dtype"), [(torch.bfloat16, torch.float32), (torch.float32,) * 2])
def test_soft_prompt_embedding(dtype: torch.dtype, prompt_dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    table, prompt = torch.randn(11, 24).to(dtype), torch.randn(2, 3, 24).to(prompt_dtype)
    ids, index = torch.randint(0, 11, (3, 4)), torch.tensor([1, 0, 1])
    output = torch.full((3, 7, 24), torch.nan, dtype=dtype)
    tensors = [ids, table, prompt, index, output]
    ptx_machine.run(soft_prompt.embedding_launches(ids, table, prompt, index, 2.0, output), tensors)
    assert torch.equal(output, embedding(EmbeddingInputs(ids, table, prompt, index, 2.0)))

    grad, found = torch.randn(3, 7, 24).to(dtype), torch.full_like(prompt, torch.nan)
    ptx_machine.run(soft_prompt.embedding_backward_launches(grad, index, found), [grad, index, found])
    exact = torch.zeros(2, 3, 24, dtype=torch.float64).index_add_(0, index, grad[:, :3].double())
    torch.testing.assert_close(found.double(), exact, atol=1e-6, rtol=2 * EPSILON[torch.float32])


@pytest.mark.parametrize("dtype", EPSILON, ids=str)
def test_selected_logprobs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden, weight, bias = (
        torch.randn(5, 72).to(dtype),
        torch.randn(150, 72).to(dtype),
        torch.randn(150).to(dtype),
    )
    targets = torch.tensor([3, 149, -100, 130, 0])
    inputs = Inputs(hidden, weight, targets, bias, -100, 1.0, 30.0, 2.0)
    assert selected_logprobs.unsupported(inputs) is None
    logprobs, lse, target = (torch.full((5,), torch.nan) for _ in range(3))
    is_best, partials = (
        torch.zeros(5, dtype=torch.bool),
        (torch.full((2, 5), torch.nan), torch.full((2, 5), torch.nan)),
    )
    tensors = [hidden, weight, bias, targets, logprobs, lse, is_best, target, *partials]
    ptx_machine.run(
        selected_logprobs.forward_launches(inputs, logprobs, lse, is_best, target, partials), tensors
    )

    wide = [one.double().requires_grad_() for one in (hidden, weight, bias)]
    precise = Inputs(wide[0], wide[1], targets, wide[2], *inputs[4:])
    exact, best = definition(precise)
    plain, _ = definition(inputs)
    error = (logprobs - exact).norm()
    assert error <= max(2 * (plain - exact).norm(), EPSILON[torch.float32] * exact.norm())
    assert torch.equal(is_best, best)

    grad, found = torch.randn(5), torch.full((5, 150), torch.nan, dtype=dtype)
    launches = selected_logprobs.backward_launches(inputs, grad, logprobs, lse, found, 0)
    ptx_machine.run(launches, [hidden, weight, bias, targets, grad, logprobs, lse, found])
    of_hidden, of_bias = torch.autograd.grad(exact, (wide[0], wide[2]), grad.double())
    # Each gradient of a logit is rounded once to the type it is kept in, and summed in fp32 before.
    allowed = EPSILON[dtype] * 4 * found.double().norm()
    assert (found.double().sum(0) - of_bias).norm() <= allowed
    assert (found.double() @ weight.double() - of_hidden).norm() <= allowed * weight.double().norm(2, 1).max()
    assert not found[2].any()
