"""The estimate of a design, and the device it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from workbench.models.estimate import Estimate, estimate
from workbench.recipe import Recipe
from workbench.tui.build.checks import Finding, Repair
from workbench.tui.build.design import Design
from workbench.tui.text import short_bytes

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """What a run would be on; no `memory` means this machine's own."""

    name: str
    memory: int = 0

    @property
    def room(self) -> int:
        """Bytes of memory."""
        return self.memory or memory_here()


DEVICES = (
    Device("this machine"),
    Device("T4 16 GB", 15 * GIB),
    Device("RTX 4090 24 GB", 24 * GIB),
    Device("A100 40 GB", 40 * GIB),
    Device("A100 80 GB", 80 * GIB),
    Device("H100 80 GB", 80 * GIB),
)


@dataclass(frozen=True)
class Reckoned:
    """An estimate, and the recipe it is of."""

    recipe: Recipe
    estimate: Estimate


@cache
def memory_here() -> int:
    """Bytes of the first GPU of this machine, or of the machine where it has none."""
    import psutil

    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)
    except Exception:  # whatever the driver's library says, then there is no GPU to reckon with
        return int(psutil.virtual_memory().total)


def reckon(recipe: Recipe, device: Device) -> Reckoned:
    """The estimate of a recipe."""
    return Reckoned(recipe, estimate(recipe))


def memory_findings(design: Design | None, reckoned: Reckoned | None, device: Device) -> list[Finding]:
    """Whether it fits into memory, and what would make it fit."""
    if reckoned is None or design is None:
        return []
    peak, room = reckoned.estimate.memory.peak, device.room
    if peak <= room:
        return []
    message = f"training takes {short_bytes(peak)}; {device.name} has {short_bytes(room)}"
    repairs = [
        repair
        for repair in (_smaller_batch(reckoned.recipe, room), _checkpointing(reckoned.recipe, room))
        if repair is not None
    ]
    return [Finding("warn", (ROWS,), message, tuple(repairs))]


def _smaller_batch(recipe: Recipe, room: int) -> Repair | None:
    """Half as many rows at a time, twice the steps of accumulation, as often as it takes."""
    rows, steps = recipe.training.per_device_train_batch_size, recipe.training.gradient_accumulation_steps
    while rows > 1:
        # Only even numbers halve into the same batch.
        steps = steps * rows // (rows // 2) if rows % 2 == 0 else steps * rows
        rows = rows // 2 if rows % 2 == 0 else 1
        if _peak(recipe, per_device_train_batch_size=rows, gradient_accumulation_steps=steps) <= room:
            values = {ROWS: rows, "training.gradient_accumulation_steps": steps}
            return Repair(f"{rows:,} rows at a time, {steps:,} before each step", values)
    return None


def _checkpointing(recipe: Recipe, room: int) -> Repair | None:
    if recipe.training.gradient_checkpointing or _peak(recipe, gradient_checkpointing=True) > room:
        return None
    return Repair("gradient checkpointing", {"training.gradient_checkpointing": True})


def _peak(recipe: Recipe, **changes: object) -> int:
    training = recipe.training.model_copy(update=changes)
    return int(estimate(recipe.model_copy(update={"training": training})).memory.peak)


ROWS = "training.per_device_train_batch_size"
