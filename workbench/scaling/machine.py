"""How long runs take: on this machine as measured, or on a number of GPUs as assumed."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import UsageError
from workbench.models.estimate import MFU, find_gpu, known_speed
from workbench.models.estimate.devices import CPU_EFFICIENCY, CPU_EFFICIENCY_HALF
from workbench.scaling.spec import BudgetSection

STARTING_SECONDS = 8.0
"""Importing torch, opening the data, building the model and writing it at the end, as measured here."""
STEP_SECONDS = 0.010
"""What a step takes on a CPU however small the model is: models of 16 to 108 thousand weights took 11 to 19
ms for 1,024 tokens on one thread."""
SMALL = 20_000
"""Parameters at which matrices are so small that half of a CPU's speed is lost."""


@dataclass(frozen=True)
class Machine:
    """`flops_per_second` that training reaches, with `step_seconds` and `starting_seconds` beside; at `small`
    parameters half of it is lost."""

    flops_per_second: float
    step_seconds: float
    starting_seconds: float
    small: float
    words: str

    def seconds(self, flops: float, steps: int, parameters: float) -> float:
        """How long a run takes."""
        speed = self.flops_per_second * parameters / (parameters + self.small)
        return self.starting_seconds + steps * self.step_seconds + flops / speed


def machine_of(budget: BudgetSection, *, half: bool, threads: int | None) -> Machine | None:
    """The machine of a budget; None where this one has not been measured. Raises `UsageError`."""
    if budget.flops_per_second is not None:
        speed = budget.flops_per_second
        return Machine(speed, 0.0, STARTING_SECONDS, 0.0, f"{speed:.3g} FLOP/s, as the study says")
    if budget.gpu is not None:
        gpu = find_gpu(budget.gpu)
        speed = budget.gpus * MFU * (gpu.half if half else gpu.single)
        words = f"{budget.gpus} × {gpu.name} at {MFU:.0%} of its peak, which small models stay far below"
        return Machine(speed, 0.0, STARTING_SECONDS, 0.0, words)
    known = known_speed()
    if known is None:
        return None
    speed = CPU_EFFICIENCY_HALF * known.half if half else CPU_EFFICIENCY * known.single
    if threads is not None and threads < known.threads:
        speed *= threads / known.threads
    return Machine(speed, STEP_SECONDS, STARTING_SECONDS, SMALL, "this machine, as measured before")


def require_machine(machine: Machine | None) -> Machine:
    """Raise `UsageError` where the speed is needed and not known."""
    if machine is None:
        raise UsageError(
            "a budget in hours needs the speed of this machine, which has not been measured",
            where="budget.hours",
            hint="add --measure once, or give budget.flops_per_second, or a budget in FLOPs",
        )
    return machine
