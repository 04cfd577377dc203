"""A layout as the keys of a recipe."""

from __future__ import annotations

from typing import Any

from workbench.errors import UsageError
from workbench.recipe import Recipe, dump, validate
from workbench.scaling.layouts.plan import Plan
from workbench.scaling.layouts.stack import WORKBENCH

IP = "slurm"
"""Stands for the address of the first machine where a batch system finds it when the job begins."""


def overrides(plan: Plan, *, main_process_ip: str = IP) -> dict[str, dict[str, Any]]:
    """The sections of a recipe that a layout decides, as plain values. Raises `UsageError` for what no recipe
    can say."""
    layout, setting = plan.layout, plan.setting
    if layout.recompute == "selective":
        raise UsageError(
            "recomputation of what is cheap is that of other programs; a recipe has it for whole layers",
            where="--layout",
            hint="recompute=full is training.gradient_checkpointing",
        )
    if layout.reshard != (layout.pp == 1):
        raise UsageError(
            "a recipe lets gathered weights go behind each layer, and keeps them in a pipeline",
            where="--layout",
            hint="leave reshard= out to plan for what a recipe does",
        )
    if setting.stack is not WORKBENCH:
        raise UsageError(
            f"this was reckoned {setting.stack.title.partition(':')[0]}, which no recipe says",
            where=f"--stack {setting.stack.name}",
            hint="leave --stack out to plan for training here",
        )
    nodes = setting.cluster.nodes
    training: dict[str, Any] = {
        "gradient_checkpointing": layout.recompute == "full",
        # A pipeline cuts the rows of a step itself.
        "per_device_train_batch_size": layout.rows * (layout.microbatches if layout.pp > 1 else 1),
        "gradient_accumulation_steps": 1 if layout.pp > 1 else layout.microbatches,
    }
    if layout.pp > 1:
        # An evaluation sends its batches through whole.
        training["per_device_eval_batch_size"] = layout.rows
    if not setting.cluster.device.is_cpu:
        training["bf16"] = setting.precision.half
    parallel: dict[str, Any] = {
        name: getattr(layout, name) for name in ("dp_replicate", "dp_shard", "cp", "tp", "pp")
    }
    if layout.pp > 1:
        parallel |= {"pp_schedule": layout.schedule, "pp_microbatches": layout.microbatches}
        if layout.virtual_stages > 1:
            parallel["pp_virtual_stages"] = layout.virtual_stages
    each = min(setting.cluster.gpus, setting.cluster.gpus_per_node)
    launch: dict[str, Any] = {"num_processes": each, "num_machines": nodes}
    if nodes > 1:
        launch["main_process_ip"] = main_process_ip
    if setting.cluster.device.is_cpu:
        launch["device"] = "cpu"
    return {
        "data": {"max_length": setting.length},
        "training": training,
        "launch": launch,
        "parallel": parallel,
    }


def recipe_with(recipe: Recipe, plan: Plan, name: str) -> str:
    """The recipe with the layout in it, as YAML under a comment that says what was predicted. Raises
    `RecipeError` where the two do not go together."""
    mapping = recipe.model_dump(mode="json")
    for section, values in overrides(plan).items():
        mapping[section] = {**mapping[section], **values}
    if recipe.training.fp16 and plan.setting.precision.half:
        # The other half precision, which takes the same room.
        mapping["training"]["bf16"] = False
    made = validate(mapping, name)
    setting, memory = plan.setting, plan.memory
    said = (
        f"# {name} on {setting.cluster.gpus} × {setting.cluster.device.name}: {plan.layout.words()}.\n"
        f"# Predicted: {memory.peak / 1e9:.0f} GB a device, {plan.times.step:.3g} s a step of "
        f"{setting.tokens:,} tokens, {plan.mfu:.0%} MFU.\n"
    )
    return said + dump(made, changed_only=True)
