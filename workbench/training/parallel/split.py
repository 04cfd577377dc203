"""Splitting a whole model by a layout, and what then trains it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from workbench.errors import ModelError
from workbench.models.attention.attend import NAME as BLOCKS
from workbench.models.rope_scaling import is_moving
from workbench.recipe.parallel_section import check_shape
from workbench.training.parallel import context, tensor
from workbench.training.parallel.parts import give_memory
from workbench.training.parallel.pipeline import Stage, cut, parts_of
from workbench.training.parallel.pipeline_stepper import PipelineStepper
from workbench.training.parallel.shard import shard
from workbench.training.parallel.stepper import ShardedStepper, Stepper
from workbench.training.parallel.widths import rounded

if TYPE_CHECKING:
    from workbench.objectives import Objective
    from workbench.recipe import Recipe
    from workbench.training.parallel.layout import Layout


def split(model: Any, objective: Objective, layout: Layout, recipe: Recipe, length: int) -> Stepper:
    """Split a model, which every process holds whole or as a frame, and return what trains its part; `length`
    is that of a row. A frame has memory for its parts then, and no values yet.

    Raises `ModelError` where this model cannot be split so, with what can be done instead.
    """
    degrees, device, bf16 = layout.degrees, layout.device, recipe.training.bf16
    check_model(model, layout, recipe, length)
    assert layout.mesh is not None
    if degrees.cp > 1:
        model.set_attn_implementation(context.IMPLEMENTATION)
    vocabulary = tensor.cuts_vocabulary(model)
    if degrees.pp == 1:
        if degrees.tp > 1:
            tensor.parallelize(model, layout.mesh["tp"], vocabulary=vocabulary)
        shard(model, layout, bf16=bf16)
        give_memory(model, device)
        sharded = ShardedStepper(model, objective, layout)
        if degrees.tp > 1:
            sharded.summed = tensor.add_up_gradients(model, layout.mesh["tp"])
        return sharded
    hidden_size = int(model.config.get_text_config().hidden_size)
    stages = _stages(model, layout, recipe)
    summed: list[nn.Parameter] = []
    for stage in stages:
        if degrees.tp > 1:
            tensor.parallelize(stage.model, layout.mesh["tp"], vocabulary=vocabulary)
        shard(stage, layout, bf16=bf16)
        give_memory(stage, device)
        if degrees.tp > 1:
            summed += tensor.add_up_gradients(stage.model, layout.mesh["tp"])
    is_sharded = degrees.dp_replicate * degrees.shard_size > 1
    stepper = PipelineStepper(
        stages,
        objective,
        layout,
        recipe.parallel,
        hidden_size=hidden_size,
        wire=torch.bfloat16 if bf16 and is_sharded else torch.float32,
        most=length,
        tied=_tied(stages, layout, recipe, is_tied=tensor.is_tied(model)),
    )
    stepper.summed = summed
    return stepper


def check_model(model: Any, layout: Layout, recipe: Recipe, length: int = 0) -> None:
    """Raise `ModelError` where a model's architecture or shape cannot be split by a layout, with rows of
    `length` tokens."""
    degrees, name = layout.degrees, type(model).__name__
    instead = f"parallel.dp_shard={degrees.world_size} splits any model"
    if degrees.tp > 1:
        tensor.check_tensor_parallel(model, degrees.tp, degrees.world_size)
    if degrees.pp > 1:
        parts_of(model)
    config = model.config.get_text_config()
    if degrees.tp > 1 or degrees.pp > 1:
        try:
            check_shape(
                degrees,
                recipe.parallel.stages_per_rank,
                heads=config.num_attention_heads,
                kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
                layers=config.num_hidden_layers,
            )
        except ValueError as error:
            raise ModelError(str(error), where=name) from None
    if degrees.cp > 1:
        # Windows by blocks are windows, which attention over ranks has too.
        is_known = config._attn_implementation in ("sdpa", BLOCKS)
        if not is_known or not getattr(model, "_supports_attention_backend", False):
            raise ModelError(
                f"{name} has its own attention ({config._attn_implementation}), and no rank has all of a row",
                where="parallel.cp",
                hint=instead,
            )
    _check_positions(config, layout, length, name, instead)


def _check_positions(config: Any, layout: Layout, length: int, name: str, instead: str) -> None:
    """Rows are shared among ranks, or padded: positions that depend on how long a row is would be others."""
    degrees = layout.degrees
    if degrees.cp * degrees.pp > 1 and is_moving(config):
        axis = "cp" if degrees.cp > 1 else "pp"
        why = "no rank of cp reads all" if axis == "cp" else "a pipeline pads what it reads to few lengths"
        raise ModelError(
            f"{name} turns its rotary positions by the length of what it reads; {why}",
            where=f"parallel.{axis}",
            hint=f"another model.rope_scaling; or {instead}",
        )
    known = getattr(config, "max_position_embeddings", None)
    turns = getattr(config, "rope_parameters", None) or getattr(config, "rope_theta", None)
    multiple = 2 * degrees.cp
    if degrees.cp > 1 and known and not turns and rounded(length, multiple) > known:
        raise ModelError(
            f"{name} has {known:,} positions, and rows of {length:,} tokens are padded to "
            f"{rounded(length, multiple):,}, a multiple of {multiple}",
            where="data.max_length",
            hint=f"make it {known // multiple * multiple:,} or less; or {instead}",
        )


def _stages(model: Any, layout: Layout, recipe: Recipe) -> list[Stage]:
    """This rank's stages: r, r + pp, r + 2·pp …"""
    per_rank = recipe.parallel.stages_per_rank
    count = layout.degrees.pp * per_rank
    names = {id(module): name for name, module in model.named_modules()}
    embedding, head = (
        names[id(part)] for part in (model.get_input_embeddings(), model.get_output_embeddings())
    )
    stages = cut(model, range(layout.coordinates["pp"], count, layout.degrees.pp), count)
    for stage in stages:
        stage.autocast = layout.accelerator.autocast
        if tensor.is_tied(model) and stage.is_last:
            stage.aliases = {f"{head}.weight": f"{embedding}.weight"}
    return stages


def _tied(
    stages: list[Stage], layout: Layout, recipe: Recipe, *, is_tied: bool
) -> tuple[dist.ProcessGroup, nn.Parameter] | None:
    """The weight that the first stage's embedding and the last stage's head are copies of, and who has
    them."""
    if not is_tied:
        return None
    assert layout.mesh is not None
    ranks = layout.mesh.mesh
    pairs = torch.stack([ranks[0].flatten(), ranks[-1].flatten()], dim=1)
    patience = timedelta(seconds=recipe.launch.ddp_timeout)
    group: Any = dist.new_subgroups_by_enumeration(pairs.tolist(), timeout=patience)[0]
    if stages[0].is_first:
        return group, stages[0].model.get_input_embeddings().weight
    if stages[-1].is_last:
        return group, stages[-1].model.get_output_embeddings().weight
    return None
