"""Level B, whole paths: what the product does on a GPU, its launches interpreted, not handed to CUDA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ptx_machine
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.ops.cuda import (
    driver,
    selected_logprobs_choice,
    selected_logprobs_path,
    shared_prefix_path,
    soft_prompt_choice,
    soft_prompt_path,
)
from workbench.ops.cuda.kernel import Launch
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.soft_prompt.definition import Inputs, definition


class Allocations(TorchDispatchMode):
    """All memory that tensors made within have."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in (*args, *(made if isinstance(made, tuple) else (made,))):
            if isinstance(one, Tensor) and one.device.type == "cpu" and one.untyped_storage().nbytes():
                self.kept[one.untyped_storage().data_ptr()] = one
        return made

    def all(self) -> Sequence[Tensor]:
        found = []
        for one in self.kept.values():
            storage = one.untyped_storage()
            found.append(torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),)))  # type: ignore[call-overload]
        return found


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Allocations() as allocations:

        def run(launches: list[Launch], device: torch.device) -> None:
            with torch._C._DisableTorchDispatch():
                ptx_machine.run(launches, allocations.all())

        monkeypatch.setattr(driver, "run", run)
        for module in (selected_logprobs_path, shared_prefix_path):
            monkeypatch.setattr(module, "_multiprocessors", lambda _: 2)
        yield


@pytest.mark.parametrize("shape", [(2, 3, 20, 2), (1, 1, 70, 3)], ids=["training", "decoding"])
def test_shared_prefix_attention(shape: Any) -> None:
    inputs = example(shape, 64, torch.bfloat16, "cpu", heads=4)
    for part, error, allowed in errors(
        shared_prefix_path.cuda_forward, shared_prefix_path.cuda_backward, inputs
    ):
        assert error <= allowed, part


@pytest.mark.parametrize("prompt", [torch.bfloat16, torch.float32], ids=str)
def test_soft_prompt_embedding(prompt: torch.dtype) -> None:
    way = soft_prompt_path.cuda_forward, soft_prompt_path.cuda_backward
    inputs = soft_prompt_choice.example(3, 5, 4, 24, torch.bfloat16, prompt, torch.device("cpu"))
    assert not soft_prompt_choice.compare(*way, inputs)
    # One prompt for all, ids of the other type, a table that does not lie as the kernels read it.
    table = torch.randn(24, 11).T.to(torch.bfloat16)
    one = Inputs(torch.tensor([[3, 10], [0, 3]], dtype=torch.int32), table, inputs.prompt[0], None, None)
    assert torch.equal(way[0](one), definition(one))
    grad = torch.randn(2, 6, 24).to(torch.bfloat16)
    found = way[1](grad.transpose(0, 1).contiguous().transpose(0, 1), one.prompt, None)
    torch.testing.assert_close(found.float(), grad[:, :4].float().sum(0), rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_selected_logprobs(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two blocks of the vocabulary, the last of an odd number of columns.
    monkeypatch.setattr(selected_logprobs_path, "OTHER_BLOCK", 9 * 128)
    inputs = selected_logprobs_choice.example(9, 203, size=40, dtype=dtype, is_capped=True)
    way = selected_logprobs_path.cuda_forward, selected_logprobs_path.cuda_backward
    assert not selected_logprobs_choice.compare(*way, inputs)
