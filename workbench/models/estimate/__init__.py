"""What a recipe's model and its training take, reckoned from the recipe alone: no torch, no waiting.

>>> from workbench.recipe import load
>>> found = estimate(load("nano"))
>>> found.parameters.total
1115264
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from workbench.models.estimate import reference
from workbench.models.estimate.cache import KeyValueCache, key_value_cache
from workbench.models.estimate.compute_optimal import ComputeOptimal, compute_optimal
from workbench.models.estimate.devices import GPUS, MFU, Cost, Gpu, cost_here, cost_on_gpu, find_gpu
from workbench.models.estimate.flops import Flops, flops
from workbench.models.estimate.fused import fused_on_cpu
from workbench.models.estimate.lengths import AtLength, at_lengths, with_full_attention
from workbench.models.estimate.load import ANSWERS, Load, load_for, load_of
from workbench.models.estimate.matrices import matrices
from workbench.models.estimate.memory import CUDA_CONTEXT, Memory, memory
from workbench.models.estimate.parameters import Parameters, count
from workbench.models.estimate.policy import beside_policy, note, with_others
from workbench.models.estimate.shape import Shape, shape_of
from workbench.models.estimate.this_machine import Speed, known_speed, measure_speed

if TYPE_CHECKING:
    from workbench.recipe import Recipe

__all__ = [
    "GPUS",
    "MFU",
    "AtLength",
    "ComputeOptimal",
    "Cost",
    "Estimate",
    "Flops",
    "Gpu",
    "KeyValueCache",
    "Known",
    "Load",
    "Memory",
    "Parameters",
    "Plan",
    "Shape",
    "Speed",
    "at_lengths",
    "estimate",
    "find_gpu",
    "key_value_cache",
    "known_speed",
    "load_for",
    "load_of",
    "measure_speed",
    "on_gpu",
    "on_this_machine",
    "with_full_attention",
]


@dataclass(frozen=True)
class Plan:
    """What the recipe asks for: `tokens_per_step` read in an optimiser step by all processes, `steps` and
    the `tokens` and `flops` of all of them; None where that depends on how much data there is."""

    tokens_per_step: int
    steps: int | None
    tokens: int | None
    flops: float | None
    processes: int
    half_precision: bool


@dataclass(frozen=True)
class Known:
    """All that follows from the shape of a model and the recipe of its training.

    `memory` is that of a CPU process; `gpu_memory` that on a GPU, where there is room for the context of the
    device instead of libraries, and all layers are transformers' own.
    """

    shape: Shape
    parameters: Parameters
    load: Load
    flops: Flops
    memory: Memory
    gpu_memory: Memory
    cache: KeyValueCache
    optimal: ComputeOptimal
    plan: Plan


@dataclass(frozen=True)
class Estimate:
    """`known` is None where the model's shape cannot be told from here; `reason` then says why. `notes` are
    worth a line each beside the figures."""

    known: Known | None
    reason: str
    notes: tuple[str, ...]


def estimate(recipe: Recipe, *, labels: int = 2) -> Estimate:
    """The estimate of a recipe; `labels` is the number of labels in the data of a task, which no recipe
    says."""
    shape, notes = shape_of(recipe, labels)
    if shape is None:
        return Estimate(None, notes[0], ())
    training, tuning = recipe.training, recipe.tuning
    parts, load = matrices(shape), load_of(recipe, shape)
    parameters = count(shape, tuning)
    checkpointing = training.gradient_checkpointing and shape.family != "xlnet"
    operations = flops(shape, parts, load, tuning=tuning.method, checkpointing=checkpointing)
    reckoned = partial(memory, shape, parts, parameters, load, training, frozen=tuning.method == "frozen")
    cache = key_value_cache(shape)
    others: dict[str, int] = {}
    if recipe.objective.name == "ppo":
        others = beside_policy(recipe, parameters, cache)
        notes = (*notes, note(others))
    if recipe.objective.name == "dpo":
        others = reference.reference_in_memory(recipe, parameters)
        notes = (*notes, reference.note(recipe))
    plan = _plan(recipe, load, operations)
    known = Known(
        shape=shape,
        parameters=parameters,
        load=load,
        flops=operations,
        memory=with_others(reckoned(fused=fused_on_cpu(recipe, shape)), others),
        gpu_memory=with_others(_on_a_gpu(reckoned()), others),
        cache=cache,
        optimal=compute_optimal(parameters.total, plan.tokens, decoder=shape.family == "llama"),
        plan=plan,
    )
    return Estimate(known, "", (*notes, *_notes(recipe, shape)))


def on_gpu(known: Known, gpu: Gpu, *, price: float | None = None, utilisation: float = MFU) -> Cost:
    """The run on as many of a GPU as it has processes; `price` in dollars an hour for each."""
    return cost_on_gpu(
        gpu,
        flops_per_token=known.flops.executed,
        tokens=known.plan.tokens,
        needed=known.gpu_memory.peak,
        half=known.plan.half_precision,
        count=known.plan.processes,
        price=price,
        utilisation=utilisation,
    )


def on_this_machine(known: Known, speed: Speed, available: float) -> Cost:
    """The run on this machine's processor, with `available` bytes of memory."""
    half = known.plan.half_precision
    return cost_here(
        speed.half if half else speed.single,
        known.flops.executed,
        tokens=known.plan.tokens,
        needed=known.memory.peak * known.plan.processes,
        memory=available,
        half=half,
    )


def _plan(recipe: Recipe, load: Load, operations: Flops) -> Plan:
    training = recipe.training
    each = load.counted * training.gradient_accumulation_steps * recipe.data_ranks
    tokens = None if training.max_steps is None else training.max_steps * each
    return Plan(
        tokens_per_step=each,
        steps=training.max_steps,
        tokens=tokens,
        flops=None if tokens is None else tokens * operations.training,
        processes=recipe.launch.world_size,
        half_precision=training.bf16 or training.fp16,
    )


def _on_a_gpu(found: Memory) -> Memory:
    working = found.peak - found.overhead - found.fragments
    return replace(found, overhead=CUDA_CONTEXT, fragments=0, peak=working + CUDA_CONTEXT)


def _notes(recipe: Recipe, shape: Shape) -> list[str]:
    notes = []
    if recipe.training.gradient_checkpointing and shape.family == "xlnet":
        notes.append("transformers' XLNet knows no gradient checkpointing")
    if (
        recipe.tuning.method != "full"
        and shape.family == "bert"
        and shape.objective in ("classification", "regression")
    ):
        notes.append("where the model comes without a pooler, the new one learns too")
    if recipe.training.max_steps is None:
        notes.append("training.max_steps is empty: how long the run is depends on how much data there is")
    if shape.is_task and shape.objective in ("classification", "tagging"):
        notes.append(f"reckoned with {shape.labels} labels; the data says how many there are")
    if shape.objective == "reward":
        notes.append(f"reckoned with {ANSWERS} answers to a prompt; the data says how many there are")
    if shape.is_task or not recipe.data.packing:
        notes.append("rows are reckoned as full; shorter ones take less")
    return notes
