"""Which path shared-prefix attention takes on a card: see `verdicts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor

from workbench.ops.cuda.shared_prefix import unsupported
from workbench.ops.cuda.shared_prefix_path import cuda_backward, cuda_forward, kernels
from workbench.ops.cuda.verdicts import CUDA, Case, Check, Verdict, verdict
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.composed import composed, composed_backward
from workbench.ops.shared_prefix.concatenated import concatenated, concatenated_backward
from workbench.ops.shared_prefix.definition import Gradients, Inputs, definition, definition_backward

Forward = Callable[[Inputs], tuple[Tensor, Tensor]]
Backward = Callable[[Inputs, Tensor, Tensor, Tensor], Gradients]
WAYS: dict[str, tuple[Forward, Backward]] = {
    CUDA: (cuda_forward, cuda_backward),
    "composed": (composed, composed_backward),
    "concatenated": (concatenated, concatenated_backward),
    "definition": (definition, definition_backward),
}
COMPARED = ((3, 65, 70, 3), (3, 1, 513, 20))
"""B, S, P and T − S of the comparison: forward over several tiles, and decoding with split keys."""
LONG = 128
"""Positions of a long prefix."""
TIMED = {
    "decoding behind a short prefix": (16, 1, 64, 63),
    "decoding behind a long prefix": (16, 1, 1024, 63),
    "training with a short prefix": (8, 64, 20, 0),
    "training with a long prefix": (8, 64, 512, 0),
}


def choose(inputs: Inputs) -> tuple[str, str]:
    """The path of a call on a CUDA device, and the reason in words."""
    query = inputs.query
    obstacle = unsupported(inputs)
    found = _verdict(query.device.index or 0, query.shape[3], query.dtype, obstacle is None)
    what = "decoding behind" if query.shape[2] == 1 else "training with"
    case = f"{what} a {'long' if inputs.prefix_key.shape[1] >= LONG else 'short'} prefix"
    reason = f"{case}: {found.reason(case)}"
    return found.taken[case], f"{reason}; {CUDA}: {obstacle}" if obstacle else reason


@cache
def _verdict(index: int, head: int, dtype: torch.dtype, is_supported: bool) -> Verdict:
    device = torch.device("cuda", index)
    wanted = kernels(example((1, 1, 1, 0), head, dtype, "meta")) if is_supported else []
    checks: dict[str, Check] = {
        name: partial(_compare, *ways, device, head, dtype) for name, ways in WAYS.items()
    }
    checks["definition"] = lambda: "it keeps all scores in memory"
    if not is_supported:
        del checks[CUDA]
    cases: Mapping[str, Case] = {
        case: partial(_call, shape, device, head, dtype) for case, shape in TIMED.items()
    }
    return verdict(f"shared-prefix attention of {head}, {dtype}", device, wanted, checks, cases)


def _compare(
    forward: Forward, backward: Backward, device: torch.device, head: int, dtype: torch.dtype
) -> str:
    for shape in COMPARED:
        for part, found, allowed in errors(forward, backward, example(shape, head, dtype, device)):
            if not found <= allowed:
                return f"it errs by {found:.1e} in {part}, not {allowed:.1e}: please report it"
    return ""


def _call(
    shape: tuple[int, int, int, int], device: torch.device, head: int, dtype: torch.dtype, name: str
) -> Callable[[], object]:
    """One call, forward and, of more than one query, backward."""
    inputs = example(shape, head, dtype, device, heads=9, kv_heads=3, padded=False)
    forward, backward = WAYS[name]

    def call() -> object:
        output, lse = forward(inputs)
        return backward(inputs, output, output, lse) if shape[1] > 1 else output

    return call
