"""Which path an operator takes for a call, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from workbench.errors import UsageError

OPERATORS = ("shared_prefix_attention", "soft_prompt_embedding", "selected_logprobs")
TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def explain(
    operator: str,
    shapes: Sequence[int],
    *,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str = "cpu",
    trained: bool = False,
) -> dict[str, Any]:
    """`path`, `reason` and `alternatives` (each with `why_not`) of a call; fit for JSON.

    `shapes`: of `shared_prefix_attention` B, H, KV, S, P, T, d; of `soft_prompt_embedding` B, T, P, V, D; of
    `selected_logprobs` N, V, D (`trained`: the head is trained too). Nothing is computed; on a GPU the first
    question compiles its kernels. Raises `UsageError` for an unknown operator, type or device.
    """
    kind = _type(dtype)
    place = _device(device)
    shape = [int(size) for size in shapes]
    explained = {
        "shared_prefix_attention": (7, "B, H, KV, S, P, T, d", _attention),
        "soft_prompt_embedding": (5, "B, T, P, V, D", _embedding),
        "selected_logprobs": (3, "N, V, D", _logprobs),
    }
    if operator not in explained:
        raise UsageError(f"there is no operator “{operator}”", hint=f"one of: {', '.join(OPERATORS)}")
    count, letters, tell = explained[operator]
    if len(shape) != count or min(shape) < 1:
        raise UsageError(f"shapes of {operator} are {letters}, not {shape}", where="shapes")
    path, reason, others = tell(shape, kind, place, trained)
    return {
        "operator": operator,
        "shapes": dict(zip(letters.split(", "), shape, strict=True)),
        "dtype": str(kind).removeprefix("torch."),
        "device": str(place),
        "path": path,
        "reason": reason,
        "alternatives": [{"path": name, "why_not": why} for name, why in others.items() if name != path],
    }


Told = tuple[str, str, dict[str, str]]


def _attention(shape: list[int], dtype: torch.dtype, device: torch.device, _: bool) -> Told:
    from workbench.ops.shared_prefix import paths
    from workbench.ops.shared_prefix.definition import Inputs
    from workbench.ops.shared_prefix.native import why_not

    batch, heads, kv_heads, queries, prefix, own, size = shape
    if heads % kv_heads or own < queries:
        raise UsageError(
            f"{heads} heads on {kv_heads}, {queries} queries with {own} own keys", where="shapes"
        )

    def empty(*sizes: int) -> torch.Tensor:
        return torch.empty(*sizes, size, dtype=dtype, device=device)

    before, after = (kv_heads, prefix), (batch, kv_heads, own)
    query = empty(batch, heads, queries)
    inputs = Inputs(
        query, empty(*before), empty(*before), empty(*after), empty(*after), None, None, size**-0.5
    )
    choice = paths.choose(inputs)
    others = {"cuda": f"for NVIDIA GPUs, not {device.type}" if device.type != "cuda" else choice.reason}
    for name in paths.PATHS:
        wrong_device = device.type != "cpu" and name == "native"
        others.setdefault(name, "for CPUs" if wrong_device else "slower where it was measured")
    others["definition"] = "keeps all scores in memory; for what nothing else takes"
    if device.type == "cpu" and (obstacle := why_not(inputs)):
        others["native"] = obstacle
    return choice.path, choice.reason, others


def _embedding(shape: list[int], dtype: torch.dtype, device: torch.device, trained: bool) -> Told:
    from workbench.ops.soft_prompt import paths
    from workbench.ops.soft_prompt.definition import Inputs

    batch, tokens, virtual, vocabulary, size = shape
    table = torch.empty(vocabulary, size, dtype=dtype, device=device).requires_grad_(trained)
    ids = torch.empty(batch, tokens, dtype=torch.int64, device=device)
    choice = paths.choose(Inputs(ids, table, table.new_empty(virtual, size), None, None))
    others: dict[str, str] = {
        name: "two passes over the tokens, or a copy too many at this size" for name in paths.PATHS
    }
    others["cuda"] = choice.reason if device.type == "cuda" else f"for NVIDIA GPUs, not {device.type}"
    others["definition"] = "writes token embeddings twice: once looked up, once concatenated"
    return choice.path, choice.reason, others


def _logprobs(shape: list[int], dtype: torch.dtype, device: torch.device, trained: bool) -> Told:
    from workbench.ops.selected_logprobs import paths
    from workbench.ops.selected_logprobs.definition import Inputs

    places, vocabulary, size = shape
    weight = torch.empty(vocabulary, size, dtype=dtype, device=device).requires_grad_(trained)
    targets = torch.empty(places, dtype=torch.int64, device=device)
    inputs = Inputs(weight.new_empty(places, size), weight, targets, None, -100, 1.0, None, 1.0)
    choice = paths.choose(inputs)
    others: dict[str, str] = {
        name: "blocks of the vocabulary cost more time than they save here" for name in paths.PATHS
    }
    others["cuda"] = choice.reason if device.type == "cuda" else f"for NVIDIA GPUs, not {device.type}"
    others["definition"] = "all logits at once: more memory, and slower to make and read"
    return choice.path, choice.reason, others


def _type(dtype: torch.dtype | str) -> torch.dtype:
    found = getattr(torch, TYPES.get(dtype, dtype), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UsageError(f"“{dtype}” is no floating type", where="dtype", hint="fp32, bf16 or fp16")
    return found


def _device(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"“{device}” is no device", where="device", hint="cpu or cuda") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", where="device", hint="cpu")
    return found
