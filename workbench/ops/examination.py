"""What `workbench doctor --kernels` asks: compilers, caches, and each path's error and speed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.errors import WorkbenchError
from workbench.ops import native
from workbench.ops.cuda import cache, selected_logprobs_choice, soft_prompt_choice
from workbench.ops.cuda import compile as nvrtc
from workbench.ops.cuda.verdicts import CUDA
from workbench.ops.explanation import explain
from workbench.ops.shared_prefix import paths
from workbench.ops.shared_prefix.attention import shared_prefix_attention
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.definition import visible_own
from workbench.ops.soft_prompt.composed import composed, composed_gradient

CHECKED = ((3, 65, 70, 3), (3, 1, 513, 20), (2, 3, 1, 0))
"""B, S, P and T − S of what is compared with fp64."""
TIMED = {"training": (8, 64, 512, 0), "decoding": (16, 1, 1024, 63)}
TYPES = (torch.float32, torch.bfloat16)
ROUNDS = 5
TYPICAL: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("shared_prefix_attention", (16, 9, 3, 64, 20, 64, 64)),
    ("shared_prefix_attention", (16, 9, 3, 64, 512, 64, 64)),
    ("shared_prefix_attention", (16, 9, 3, 1, 1024, 64, 64)),
    ("soft_prompt_embedding", (8, 256, 20, 49_152, 576)),
    ("selected_logprobs", (2048, 49_152, 576)),
)


def examine() -> dict[str, Any]:
    """All facts, fit for JSON: `tools`, `explained`, `errors` (each `ok` or not) and `times`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.no_grad():
        checked = [
            one
            for dtype in TYPES
            for found in (
                *(_check(name, dtype, device) for name in _names(device)),
                _check_logprobs(dtype, device),
                _check_embedding(dtype, device),
            )
            for one in found
        ]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "tools": _tools(),
        "explained": [
            explain(operator, shape, dtype=dtype, device=device)
            for operator, shape in TYPICAL
            for dtype in TYPES
        ],
        "errors": checked,
        "times": [_time(what, dtype, device) for what in TIMED for dtype in TYPES],
    }


def _tools() -> dict[str, Any]:
    compiler, version = _or_reason(lambda: " ".join(native.compiler())), _or_reason(nvrtc.version)
    files = list(cache.folder().glob("*.bin"))
    size = sum(file.stat().st_size for file in files)
    return {
        "compiler": compiler,
        "nvrtc": version,
        "cache": str(cache.folder()),
        "cached_kernels": len(files),
        "cache_bytes": size,
    }


def _or_reason(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except WorkbenchError as error:
        return f"none: {error.message}"


def _names(device: str) -> list[paths.Name]:
    """The paths of attention that this device can take."""
    if device == "cpu":
        return list(paths.PATHS)
    return [*paths.GPU_PATHS, *(name for name in paths.PATHS if name != "native")]


def _check_logprobs(dtype: torch.dtype, device: str) -> Iterator[dict[str, Any]]:
    make = partial(selected_logprobs_choice.example, size=576, dtype=dtype, device=device)
    for name, (forward, backward, _) in selected_logprobs_choice.WAYS.items():
        if name == CUDA and device != CUDA:
            continue
        check = partial(selected_logprobs_choice.compare, forward, backward)
        yield _told(f"selected_logprobs {name}", dtype, partial(check, make(200, 1003)))


def _check_embedding(dtype: torch.dtype, device: str) -> Iterator[dict[str, Any]]:
    inputs = soft_prompt_choice.example(3, 5, 4, 576, dtype, dtype, torch.device(device))
    ways = {"composed": (composed, composed_gradient)} if device == "cpu" else soft_prompt_choice.WAYS
    for name, way in ways.items():
        check = partial(soft_prompt_choice.compare, *way, inputs)
        yield _told(f"soft_prompt_embedding {name}", dtype, check)


def _told(path: str, dtype: torch.dtype, check: Callable[[], str]) -> dict[str, Any]:
    try:
        reason = check()
    except WorkbenchError as error:
        reason = f"not on this machine: {error.message}"
    kind = str(dtype).removeprefix("torch.")
    return {"path": path, "dtype": kind, "ok": not reason, "text": reason or "within what is allowed"}


def _check(name: paths.Name, dtype: torch.dtype, device: str) -> Iterator[dict[str, Any]]:
    """The largest share that a part's error has of what it may be, over all shapes."""
    found: dict[str, Any] = {"path": name, "dtype": str(dtype).removeprefix("torch.")}
    path = (paths.PATHS | paths.GPU_PATHS)[name]
    try:
        shares = [
            (error / allowed, part, error)
            for shape in CHECKED
            for part, error, allowed in errors(path.forward, path.backward, example(shape, 64, dtype, device))
        ]
    except WorkbenchError as error:
        yield {**found, "ok": True, "text": f"not on this machine: {error.message}"}
        return
    except Exception as error:
        yield {**found, "ok": False, "text": f"{type(error).__name__}: {error}"}
        return
    # A number that is none compares with nothing: it comes first.
    share, part, most = max(shares, key=lambda one: (one[0] != one[0], one[0]))
    text = f"largest error {most:.1e} ({part}), {share:.2f} of what is allowed"
    yield {**found, "ok": share <= 1, "share": share, "error": most, "text": text}


def _time(what: str, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Best of interleaved rounds, milliseconds: the operator, concatenation with PyTorch's attention, and
    PEFT's way (heads of keys repeated too). Training is forward and backward."""
    inputs = example(TIMED[what], 64, dtype, device, heads=9, kv_heads=3, padded=False)
    trains = what == "training"
    five = [one.detach().requires_grad_(trains) for one in inputs[:5]]
    ways: dict[str, Callable[[], Tensor]] = {
        "operator": lambda: shared_prefix_attention(*five),
        "concatenated": lambda: _concatenated(five, False),
        "peft": lambda: _concatenated(five, True),
    }
    best = dict.fromkeys(ways, float("inf"))
    with torch.set_grad_enabled(trains):
        for number in range(ROUNDS + 1):
            for name, way in ways.items():
                seconds = _seconds(way, five if trains else [], device)
                if number:  # the first round compiles
                    best[name] = min(best[name], 1000 * seconds)
    choice = paths.choose(inputs)
    shape = dict(zip("BSPT", (*TIMED[what][:3], TIMED[what][1] + TIMED[what][3]), strict=True))
    kind = str(dtype).removeprefix("torch.")
    return {"what": what, "dtype": kind, "shape": shape, "path": choice.path, "milliseconds": best}


def _seconds(way: Callable[[], Tensor], wanted: list[Tensor], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    output = way()
    if wanted:
        torch.autograd.grad(output, wanted, output.detach())
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _concatenated(five: list[Tensor], repeats: bool) -> Tensor:
    """The prefix expanded over the batch and put before the own keys."""
    query, prefix_key, prefix_value, key, value = five
    batch, heads, queries, _ = query.shape
    keys, values = (
        torch.cat([prefix.expand(batch, *prefix.shape), own], 2)
        for prefix, own in ((prefix_key, key), (prefix_value, value))
    )
    if repeats:
        keys, values = (one.repeat_interleave(heads // key.shape[1], 1) for one in (keys, values))
    mask = None
    if queries > 1:
        seen = visible_own(queries, key.shape[2], None, None, query.device)[:, None]
        mask = torch.nn.functional.pad(seen, (prefix_key.shape[1], 0), value=True)
    return scaled_dot_product_attention(query, keys, values, mask, enable_gqa=not repeats)
