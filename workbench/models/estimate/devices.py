"""Time and cost of a run on known GPUs, and on this machine once its speed has been measured."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import UsageError

MFU = 0.4
"""Assumed share of a GPU's peak that training reaches (model FLOPs utilisation, Chowdhery et al. 2022): what
well-tuned runs of models from some hundred million weights on report. Small models stay far below."""

CPU_EFFICIENCY = 0.35
CPU_EFFICIENCY_HALF = 0.15
"""Share of the speed of a large matrix product that training reached on a CPU, in fp32 and under autocast to
bf16: the middle of the cases of `tests/benchmarks/estimates.py`, most of which lay within half and twice of
it. A few rows of a large model stay far below, where the optimiser takes most of a step."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: dense peak FLOP/s in bf16 or fp16 with fp32 accumulation, and in fp32 without TF32, and
    memory in bytes, from the makers' data sheets. `price` in dollars an hour is an assumption: a round
    number of what renting one cost; prices differ by provider and move."""

    name: str
    half: float
    single: float
    memory: float
    price: float


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("B200", 2.25e15, 75e12, 180e9, 5.00),
        Gpu("H200", 989e12, 67e12, 141e9, 3.50),
        Gpu("H100", 989e12, 67e12, 80e9, 2.50),
        Gpu("A100-80GB", 312e12, 19.5e12, 80e9, 1.50),
        Gpu("A100-40GB", 312e12, 19.5e12, 40e9, 1.20),
        Gpu("L40S", 362e12, 91.6e12, 48e9, 1.00),
        Gpu("A10", 125e12, 31.2e12, 24e9, 0.75),
        Gpu("L4", 121e12, 30.3e12, 24e9, 0.70),
        Gpu("V100", 125e12, 15.7e12, 32e9, 0.60),
        Gpu("T4", 65e12, 8.1e12, 16e9, 0.35),
        Gpu("RTX-4090", 165e12, 82.6e12, 24e9, 0.40),
        Gpu("RTX-3090", 71e12, 35.6e12, 24e9, 0.25),
    )
}


@dataclass(frozen=True)
class Cost:
    """What a run takes on a device.

    `seconds` and `cost` (dollars, all devices together) are None where the number of steps is not known;
    `fits` says whether the peak of memory is within the device's.
    """

    device: str
    tokens_per_second: float
    seconds: float | None
    price: float | None
    cost: float | None
    memory: float
    fits: bool


def find_gpu(name: str) -> Gpu:
    """A GPU by name, in any case. Raises `UsageError`."""
    wanted = name.casefold().replace(" ", "-")
    for known, gpu in GPUS.items():
        if known.casefold() == wanted:
            return gpu
    for known, gpu in GPUS.items():
        if wanted and known.casefold().startswith(wanted):
            return gpu
    import difflib

    near = difflib.get_close_matches(wanted.upper(), GPUS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(GPUS)}"
    raise UsageError(f"no GPU called “{name}” is known", where="--gpu", hint=hint)


def cost_on_gpu(
    gpu: Gpu,
    *,
    flops_per_token: float,
    tokens: int | None,
    needed: int,
    half: bool,
    count: int = 1,
    price: float | None = None,
    utilisation: float = MFU,
) -> Cost:
    """A run on `count` of one GPU: `flops_per_token` executed, `needed` bytes at the peak."""
    speed = count * utilisation * (gpu.half if half else gpu.single) / flops_per_token
    seconds = None if tokens is None else tokens / speed
    price = gpu.price if price is None else price
    return Cost(
        device=gpu.name,
        tokens_per_second=speed,
        seconds=seconds,
        price=price,
        cost=None if seconds is None else count * price * seconds / 3600,
        memory=gpu.memory,
        fits=needed <= gpu.memory,
    )


def cost_here(
    flops: float, flops_per_token: float, *, tokens: int | None, needed: int, memory: float, half: bool
) -> Cost:
    """A run on this machine's processor, whose matrix products run at `flops` operations a second."""
    speed = (CPU_EFFICIENCY_HALF if half else CPU_EFFICIENCY) * flops / flops_per_token
    seconds = None if tokens is None else tokens / speed
    return Cost("this machine", speed, seconds, None, None, memory, needed <= memory)
