"""PyTorch's own operators as GPUs have them, with one of the GPU's terms in the place of theirs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from workbench.ops.shared_prefix import segments
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.composed import composed, composed_backward
from workbench.ops.shared_prefix.concatenated import concatenated, concatenated_backward

SHAPES = ((3, 65, 70, 3), (3, 1, 20, 5), (2, 5, 1, 0), (2, 33, 40, 0))


def scores(query: Tensor, key: Tensor, bias: Tensor, is_causal: bool, scale: float) -> Tensor:
    """In fp32, with the demands of the memory-efficient operator checked."""
    assert query.shape[:2] == key.shape[:2] and query.device.type == "cpu"
    assert bias.shape == (*query.shape[:3], key.shape[2]) and bias.stride(3) == 1
    assert all(step % 16 == 0 for step, n in zip(bias.stride()[:3], bias.shape, strict=False) if n > 1)
    assert bias.isfinite().all()
    found = query.float() @ key.float().transpose(2, 3) * scale + bias.float()
    if is_causal:
        seen = torch.ones(found.shape[2:], dtype=torch.bool).tril()
        found = found.masked_fill(~seen, -torch.inf)
    return found


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    wants_lse: bool,
    dropout: float,
    is_causal: bool,
    *,
    scale: float,
) -> tuple[Tensor, ...]:
    assert wants_lse and not dropout
    found = scores(query, key, bias, is_causal, scale)
    lse = torch.nn.functional.pad(found.logsumexp(-1), (0, -query.shape[2] % 32), value=torch.nan)
    output = (found.softmax(-1).to(value.dtype).float() @ value.float()).to(query.dtype)
    return output, lse, torch.zeros(()), torch.zeros(())


def efficient_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    output: Tensor,
    lse: Tensor,
    *rest: Any,
    scale: float,
) -> tuple[Tensor | None, ...]:
    assert lse.shape[2] % 32 == 0 and lse.is_contiguous() and lse.dtype == torch.float32
    is_causal = rest[-1]
    shares = (scores(query, key, bias, is_causal, scale) - lse[:, :, : query.shape[2], None]).exp()
    mean = (grad.float() * output.float()).sum(-1, keepdim=True)
    inner = shares * (grad.float() @ value.float().transpose(2, 3) - mean) * scale
    parts = (
        inner @ key.float(),
        inner.transpose(2, 3) @ query.float(),
        shares.transpose(2, 3) @ grad.float(),
    )
    return (*(part.to(query.dtype) for part in parts), None)


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "is_cpu", lambda _: False)
    monkeypatch.setattr(segments, "_efficient", efficient)
    monkeypatch.setattr(segments, "_efficient_backward", efficient_backward)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_paths_err_no_more_than_they_may(shape: Any, dtype: torch.dtype) -> None:
    inputs = example(shape, 80, dtype, "cpu")
    for forward, backward in ((composed, composed_backward), (concatenated, concatenated_backward)):
        for part, error, allowed in errors(forward, backward, inputs):
            assert error <= allowed, (forward.__name__, part)


def test_unpadded_rows() -> None:
    inputs = example((2, 33, 40, 0), 80, torch.float32, "cpu", padded=False)
    for part, error, allowed in errors(composed, composed_backward, inputs):
        assert error <= allowed, part
