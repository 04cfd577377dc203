"""Linear layers in fp32 on CPUs where PyTorch leaves their products to the slower of its libraries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from workbench.ops.decoder_training.products import (
    prefers_onednn,
    times,
    times_transposed,
    transposed_times,
)

LEAST_ROWS = 16
"""Of fewer, a product is bound by memory whoever makes it."""


def use_fast_products(model: nn.Module) -> int:
    """Let a model's plain linear layers multiply as `products` says, forward and backward; the number of
    layers. Weights, their names and what is saved stay as they are; under autocast, and of few rows, nothing
    changes."""
    if not prefers_onednn():
        return 0
    count = 0
    for module in model.modules():
        if type(module) is nn.Linear and "forward" not in vars(module):
            layer: Any = module
            layer.forward = _FastLinear(module)
            count += 1
    return count


def has_fast_products(model: nn.Module) -> bool:
    """Whether `use_fast_products` found any layers in a model."""
    return any(isinstance(vars(module).get("forward"), _FastLinear) for module in model.modules())


class _FastLinear:
    """A linear layer's forward."""

    def __init__(self, module: nn.Linear) -> None:
        self.module = module

    def __call__(self, inputs: Tensor) -> Tensor:
        weight, bias = self.module.weight, self.module.bias
        if (
            inputs.dtype == weight.dtype == torch.float32
            and inputs.device.type == weight.device.type == "cpu"
            and inputs.numel() >= LEAST_ROWS * weight.shape[1]
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        ):
            found: Tensor = _Product.apply(inputs, weight, bias)
            return found
        return linear(inputs, weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        found = times_transposed(inputs.reshape(-1, weight.shape[1]), weight, bias)
        return found.view(*inputs.shape[:-1], len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        rows = grad.reshape(-1, len(weight))
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            times(rows, weight).view(inputs.shape) if wants_inputs else None,
            transposed_times(rows, inputs.reshape(-1, weight.shape[1])) if wants_weight else None,
            rows.sum(0) if wants_bias else None,
        )
