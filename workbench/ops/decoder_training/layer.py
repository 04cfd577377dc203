"""A layer of a Llama-shaped decoder as one operator, with a backward pass that keeps little.

    y = x + O attention(rope(Q n₁), rope(K n₁), V n₁),  n₁ = norm(x)
    z = y + D (silu(G n₂) ∘ U n₂),                      n₂ = norm(y)

Under autocast the products are in bf16, and what lies between is computed in fp32 and rounded once; the
residual stream and the weights are fp32. For the backward pass remain x, y, q, k, v, the output of attention,
G n₂ and U n₂; norms, the activation and bf16 copies of weights are made again: that takes little time,
and they would take nearly as much memory as all the others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.ops.decoder_training import native
from workbench.ops.decoder_training.attention import Documents, Heads, attend, attend_backward
from workbench.ops.decoder_training.branches import Branches
from workbench.ops.decoder_training.products import times, times_transposed, transposed_times


class LayerWeights(NamedTuple):
    """Weights of a layer, fp32, each [out, in]; biases of queries, keys and values where there are."""

    input_norm: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    post_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    query_bias: Tensor | None
    key_bias: Tensor | None
    value_bias: Tensor | None


class LayerShape(NamedTuple):
    """What a layer is besides its weights: size of a head, epsilons of the norms, scale of the scores."""

    head_size: int
    input_eps: float
    post_eps: float
    scale: float


def layer(
    hidden: Tensor,
    cos: Tensor,
    sin: Tensor,
    weights: LayerWeights,
    shape: LayerShape,
    documents: Documents | Branches | None = None,
) -> Tensor:
    """Hidden states [B, T, D] (fp32) behind a layer. cos and sin [1 or B, T, d] are fp32; `documents`
    do not see each other (see `attend`). Products are in autocast's type, or fp32."""
    is_half = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_half else torch.float32
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _Layer.apply(hidden, cos, sin, shape, documents, dtype, *weights)
    return out


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        shape: LayerShape,
        documents: Documents | Branches | None,
        dtype: torch.dtype,
        *given: Tensor | None,
    ) -> Tensor:
        w = LayerWeights(*given)  # type: ignore[arg-type]
        rows, length, size = hidden.shape
        x = hidden.reshape(-1, size)
        cos, sin = cos.reshape(-1, shape.head_size), sin.reshape(-1, shape.head_size)
        normed = native.add_norm(x, None, w.input_norm, shape.input_eps, dtype)[1]
        biases = w.query_bias, w.key_bias, w.value_bias
        heads = Heads(
            *(
                times_transposed(normed, weight.to(dtype), None if bias is None else bias.to(dtype)).view(
                    rows, length, -1, shape.head_size
                )
                for weight, bias in zip((w.query, w.key, w.value), biases, strict=True)
            )
        )
        for part in (heads.query, heads.key):
            native.rotate(part.flatten(0, 1), cos, sin)
        attended, lse = attend(heads, documents, shape.scale)
        added = times_transposed(attended.view(len(x), -1), w.output.to(dtype))
        y, normed = native.add_norm(x, added, w.post_norm, shape.post_eps, dtype)
        gate, up = times_transposed(normed, w.gate.to(dtype)), times_transposed(normed, w.up.to(dtype))
        z = native.add(y, times_transposed(native.swiglu(gate, up), w.down.to(dtype)))
        ctx.save_for_backward(x, y, *heads, attended, lse, gate, up, cos, sin, *given)
        ctx.shape, ctx.documents, ctx.dtype = shape, documents, dtype
        return z.view_as(hidden)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, y, query, key, value, attended, lse, gate, up, cos, sin, *given = ctx.saved_tensors
        w, shape, dtype = LayerWeights(*given), ctx.shape, ctx.dtype
        wanted = LayerWeights(*ctx.needs_input_grad[6:])
        found: dict[str, Tensor] = {}

        def keep(name: str, of_output: Tensor, inputs: Tensor) -> None:
            if getattr(wanted, name):
                found[name] = transposed_times(of_output, inputs).to(torch.float32)

        of_z = grad.reshape(x.shape).contiguous()
        of_down = of_z.to(dtype)
        of_gate, of_up, act = native.swiglu_backward(gate, up, times(of_down, w.down.to(dtype)))
        keep("down", of_down, act)
        del act, of_down
        normed = native.add_norm(y, None, w.post_norm, shape.post_eps, dtype)[1]
        keep("gate", of_gate, normed)
        keep("up", of_up, normed)
        grads = [times(of_gate, w.gate.to(dtype)), times(of_up, w.up.to(dtype))]
        del of_gate, of_up
        of_y, found["post_norm"] = native.norm_backward(y, w.post_norm, shape.post_eps, grads, of_z)

        of_output = of_y.to(dtype)
        keep("output", of_output, attended.view(len(x), -1))
        of_attended = times(of_output, w.output.to(dtype)).view(attended.shape)
        del of_output
        of_heads = attend_backward(
            Heads(query, key, value), ctx.documents, shape.scale, of_attended, attended, lse
        )
        for part in of_heads[:2]:
            native.rotate(part.flatten(0, 1), cos, sin, backward=True)
        normed = native.add_norm(x, None, w.input_norm, shape.input_eps, dtype)[1]
        grads = []
        for name, part in zip(Heads._fields, of_heads, strict=True):
            flat = part.view(len(x), -1)
            keep(name, flat, normed)
            if getattr(wanted, f"{name}_bias"):
                found[f"{name}_bias"] = flat.sum(0, dtype=torch.float32)
            grads.append(times(flat, getattr(w, name).to(dtype)))
        of_x, found["input_norm"] = native.norm_backward(x, w.input_norm, shape.input_eps, grads, of_y)
        of_weights = (found[name] if wants else None for name, wants in wanted._asdict().items())
        return of_x.view(grad.shape), None, None, None, None, None, *of_weights
