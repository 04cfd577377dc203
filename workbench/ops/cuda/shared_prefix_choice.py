"""Whether shared-prefix attention's kernels run a call on this card, found out by running them once.

The first call of a type and size of heads on a card compares the kernels, forward and backward, with the
definition in fp64; only those that err at most twice as much as plain PyTorch are used. The verdict is kept
beside the compiled kernels, by card, torch and kernels, and shown by `workbench doctor --kernels`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from functools import cache
from pathlib import Path

import torch

from workbench.ops.cuda import driver
from workbench.ops.cuda.cache import folder, key
from workbench.ops.cuda.compile import architecture
from workbench.ops.cuda.kernel import KernelError
from workbench.ops.cuda.shared_prefix import unsupported
from workbench.ops.cuda.shared_prefix_path import cuda_backward, cuda_forward, kernels
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.definition import Inputs

log = logging.getLogger(__name__)
SHAPES = ((3, 65, 70, 3), (3, 1, 513, 20))
"""B, S, P and T − S of the comparison: forward over several tiles, and decoding with split keys."""


def why_not(inputs: Inputs) -> str | None:
    """Why the kernels do not take a call on a CUDA device, in words; None where they do."""
    if reason := unsupported(inputs):
        return reason
    query = inputs.query
    return _why_not(query.device.index or 0, query.shape[3], query.dtype)


@cache
def _why_not(index: int, head: int, dtype: torch.dtype) -> str | None:
    device = torch.device("cuda", index)
    try:
        one = example((1, 1, 1, 0), head, dtype, "meta")
        wanted = kernels(one)
        for kernel in wanted:
            driver.load(kernel, index)
        reason = _verified(
            device, head, dtype, "-".join(key(kernel, _target(index))[:8] for kernel in wanted)
        )
    except (KernelError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    if reason:
        log.warning("shared-prefix attention takes PyTorch's own operators on %s: %s", device, reason)
    return reason


def _target(index: int) -> str:
    return architecture(torch.cuda.get_device_capability(index))


def _verified(device: torch.device, head: int, dtype: torch.dtype, known: str) -> str | None:
    """Compares once, and keeps the verdict: a reason, or None."""
    name = f"{torch.cuda.get_device_name(device)} {torch.__version__} {known}"
    path = folder() / "verdicts.json"
    verdicts = _read(path)
    if name not in verdicts:
        verdicts[name] = _compare(device, head, dtype)
        _write(path, {**_read(path), name: verdicts[name]})
    return verdicts[name] or None


def _compare(device: torch.device, head: int, dtype: torch.dtype) -> str:
    for shape in SHAPES:
        for part, found, allowed in errors(cuda_forward, cuda_backward, example(shape, head, dtype, device)):
            if not found <= allowed:
                return f"the kernels err by {found:.1e} in {part}, not {allowed:.1e}: please report it"
    return ""


def _read(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _write(path: Path, verdicts: dict[str, str]) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(verdicts, file)
        os.replace(temporary, path)
    except OSError as error:
        log.warning("what was found out about the kernels cannot be kept: %s", error.strerror)
