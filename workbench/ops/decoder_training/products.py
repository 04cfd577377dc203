"""Matrix products of a training step on the CPU, in fp32 by the faster of the libraries that PyTorch has.

PyTorch multiplies fp32 with MKL, which does not use AVX512 on processors of other makers: 110 GFLOP/s of one
thread of a Zen 5, where oneDNN's product reaches 240 with the same arithmetic. Which one is taken depends on
the processor alone, never on a measurement, so that a run that is resumed computes the same bits.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def times_transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weightᵀ + bias [N, M] of x [N, K], weight [M, K] and bias [M], all of one type: `linear`."""
    if x.dtype == torch.float32 and prefers_onednn():
        found: Tensor = _onednn(x, weight, bias)
        return found
    return torch.nn.functional.linear(x, weight, bias)


def times(x: Tensor, weight: Tensor) -> Tensor:
    """x weight [N, K] of x [N, M] and weight [M, K]."""
    if x.dtype == torch.float32 and prefers_onednn():
        found: Tensor = _onednn(x, weight.t(), None)
        return found
    return x @ weight


def transposed_times(x: Tensor, y: Tensor) -> Tensor:
    """xᵀ y [M, K] of x [N, M] and y [N, K]."""
    if x.dtype == torch.float32 and prefers_onednn():
        found: Tensor = _onednn(x.t(), y.t(), None)
        return found
    return x.t() @ y


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def prefers_onednn() -> bool:
    """Whether fp32 products are oneDNN's: AVX512, not by Intel, and the operator, which is PyTorch's own and
    not promised, is there and right."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or _is_intel():
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    x = torch.linspace(-1, 1, 6 * 5).view(6, 5).t()
    weight = torch.linspace(1, -2, 7 * 6).view(6, 7).t()
    try:
        found = _onednn(x, weight, torch.ones(7))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(found.double(), x.double() @ weight.double().t() + 1, rtol=1e-5, atol=1e-5))


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return True
