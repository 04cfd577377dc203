"""Which way of computing something a card takes, found out on it once: by correctness first, then by speed.

The first call of a kind compares every way there is with the definition in fp64, and times those that are
right, in turns; a kernel that errs more than it may, or that PyTorch's own operators beat, is not used. The
verdict is kept beside the compiled kernels, by card, torch and kernels, and shown by `workbench doctor
--kernels`.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from workbench.ops.cuda import driver
from workbench.ops.cuda.cache import folder, key
from workbench.ops.cuda.compile import architecture
from workbench.ops.cuda.kernel import Kernel, KernelError

log = logging.getLogger(__name__)
CUDA = "cuda"
"""The way of our own kernels."""
ROUNDS = 7
CLOSE = 1.03
"""What takes at most so many times as long as another is as fast: then the first of the two is taken."""

Check = Callable[[], str]
"""Why a way is not to be used, in words; empty where it is."""
Case = Callable[[str], Callable[[], object]]
"""A shape: for a way, what runs it there once."""


@dataclass(frozen=True)
class Verdict:
    """Of each case the way to take; of each way why it is not used at all; and what was measured."""

    taken: dict[str, str]
    obstacles: dict[str, str]
    milliseconds: dict[str, dict[str, float]]

    def reason(self, case: str) -> str:
        """Why a case takes its way, in words."""
        times = self.milliseconds.get(case, {})
        told = ", ".join(f"{name} {spent:.3g} ms" for name, spent in times.items())
        parts = [f"measured on this card: {told}"] if len(times) > 1 else ["the only way that is right here"]
        return "; ".join([*parts, *(f"{name}: {why}" for name, why in self.obstacles.items())])


def verdict(
    operator: str,
    device: torch.device,
    kernels: Sequence[Kernel],
    checks: Mapping[str, Check],
    cases: Mapping[str, Case],
) -> Verdict:
    """What to take on a device. `checks` are the ways, best first, the way of our `kernels` by the name of
    `CUDA`; where none of them is right the verdict is the last."""
    try:
        for kernel in kernels:
            driver.load(kernel, device.index or 0)
        target = architecture(torch.cuda.get_device_capability(device))
        known = "-".join(key(kernel, target)[:8] for kernel in kernels)
    except (KernelError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        _say(operator, device, reason)
        return _judge(
            {CUDA: lambda: reason, **{name: c for name, c in checks.items() if name != CUDA}}, cases
        )
    name = f"{operator} {torch.cuda.get_device_name(device)} {torch.__version__} {known}"
    path = folder() / "verdicts.json"
    found = _read(path).get(name)
    if found is None:
        found = _judge(checks, cases)
        _write(path, {**_read(path), name: found})
    if reason := found.obstacles.get(CUDA, ""):
        _say(operator, device, reason)
    return found


def _judge(checks: Mapping[str, Check], cases: Mapping[str, Case]) -> Verdict:
    obstacles = {name: why for name, check in checks.items() if (why := _asked(check))}
    right = [name for name in checks if name not in obstacles] or [list(checks)[-1]]
    times = {case: _times({name: make(name) for name in right}) for case, make in cases.items()}
    taken = {}
    for case, spent in times.items():
        least = min(spent.values())
        taken[case] = next(name for name in right if spent[name] <= CLOSE * least)
    return Verdict(taken, obstacles, times)


def _asked(check: Check) -> str:
    try:
        return check()
    except (KernelError, RuntimeError) as error:
        return str(error).splitlines()[0]


def _times(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each, in turns; the first round warms up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    if len(calls) == 1:
        return dict.fromkeys(calls, 0.0)
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            _synchronize()
            start = time.perf_counter()
            call()
            _synchronize()
            if number:
                spent[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in spent.items()}


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _say(operator: str, device: torch.device, reason: str) -> None:
    log.warning("%s takes PyTorch's own operators on %s: %s", operator, device, reason)


def _read(path: Path) -> dict[str, Verdict]:
    try:
        found = json.loads(path.read_text())
        return {name: Verdict(**parts) for name, parts in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, verdicts: Mapping[str, Verdict]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump({name: asdict(one) for name, one in verdicts.items()}, file)
        os.replace(temporary, path)
    except OSError as error:
        log.warning("what was found out about the kernels cannot be kept: %s", error.strerror)
