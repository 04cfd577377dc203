"""The estimate of a design, and the device it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from workbench.models.estimate import (
    GPUS,
    Cost,
    Gpu,
    Known,
    Memory,
    estimate,
    known_speed,
    on_gpu,
    on_this_machine,
)
from workbench.recipe import Recipe
from workbench.tui.build.checks import Finding, Repair
from workbench.tui.text import short_bytes


@dataclass(frozen=True)
class Device:
    """What a run would be on: a GPU of the table, or this machine's processor and memory."""

    gpu: Gpu | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.gpu.name if self.gpu else "this machine"

    @property
    def room(self) -> float:
        """Bytes of memory."""
        return self.gpu.memory if self.gpu else memory_here()

    def memory_of(self, known: Known) -> Memory:
        """What a process of training takes there."""
        return known.gpu_memory if self.gpu else known.memory

    def cost_of(self, known: Known) -> Cost | None:
        """Time and money; None where this machine's speed has not been measured."""
        if self.gpu is not None:
            return on_gpu(known, self.gpu)
        speed = known_speed()
        return on_this_machine(known, speed, memory_here()) if speed is not None else None


DEVICES = (Device(), *(Device(gpu) for gpu in GPUS.values()))


@dataclass(frozen=True)
class Reckoned:
    """The estimate of a recipe on a device; `known` is None where `reason` keeps it from being told."""

    recipe: Recipe
    known: Known | None
    reason: str
    notes: tuple[str, ...]
    device: Device
    cost: Cost | None


@cache
def memory_here() -> int:
    """Bytes of this machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total)


def device_here() -> Device:
    """The GPU of this machine where it is one of the table, else its processor."""
    try:
        import pynvml

        pynvml.nvmlInit()
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
        room = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total
    except Exception:
        # Whatever the driver's library complains of, there is no GPU to reckon with.
        return DEVICES[0]
    words = str(name).replace(" ", "-").split("-")
    fitting = [
        device
        for device in DEVICES
        if device.gpu and device.gpu.name.split("-")[0] in words and device.gpu.memory * 0.9 < room
    ]
    return max(fitting, key=lambda device: device.room) if fitting else DEVICES[0]


def reckon(recipe: Recipe, device: Device) -> Reckoned:
    """The estimate of a recipe on a device."""
    found = estimate(recipe)
    cost = device.cost_of(found.known) if found.known else None
    return Reckoned(recipe, found.known, found.reason, found.notes, device, cost)


def memory_findings(reckoned: Reckoned | None) -> list[Finding]:
    """Whether it fits into memory, and what would make it fit."""
    if reckoned is None or reckoned.known is None:
        return []
    device, recipe = reckoned.device, reckoned.recipe
    peak = device.memory_of(reckoned.known).peak
    if peak <= device.room:
        return []
    message = f"training takes {short_bytes(peak)}; {device.name} has {short_bytes(device.room)}"
    found = (_smaller_batch(recipe, device), _checkpointing(recipe, device))
    return [Finding("warn", (ROWS,), message, tuple(repair for repair in found if repair is not None))]


def _smaller_batch(recipe: Recipe, device: Device) -> Repair | None:
    """Half as many rows at a time, twice the steps of accumulation, as often as it takes."""
    rows, steps = recipe.training.per_device_train_batch_size, recipe.training.gradient_accumulation_steps
    while rows > 1:
        # Only an even number halves into the same batch; an odd one comes apart into single rows.
        parts = 2 if rows % 2 == 0 else rows
        rows, steps = rows // parts, steps * parts
        if _fits(recipe, device, per_device_train_batch_size=rows, gradient_accumulation_steps=steps):
            values = {ROWS: rows, "training.gradient_accumulation_steps": steps}
            return Repair(f"{rows:,} rows at a time, {steps:,} before each step", values)
    return None


def _checkpointing(recipe: Recipe, device: Device) -> Repair | None:
    if recipe.training.gradient_checkpointing or not _fits(recipe, device, gradient_checkpointing=True):
        return None
    return Repair("gradient checkpointing", {"training.gradient_checkpointing": True})


def _fits(recipe: Recipe, device: Device, **changes: object) -> bool:
    training = recipe.training.model_copy(update=changes)
    known = estimate(recipe.model_copy(update={"training": training})).known
    return known is not None and device.memory_of(known).peak <= device.room


ROWS = "training.per_device_train_batch_size"
