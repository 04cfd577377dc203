"""Sharded data parallelism: weights, gradients and optimiser states over ranks (Zhao et al. 2023, FSDP), by
torch's `fully_shard`; with copies of the shards it is HSDP."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

if TYPE_CHECKING:
    from workbench.training.parallel.layout import Layout


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model, of all its stacks: what is gathered at once, computed and let go."""
    found: list[nn.Module] = []

    def walk(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList):
                found.extend(part for part in child if next(part.parameters(), None) is not None)
            else:
                walk(child)

    walk(model)
    return found


def shard(model: nn.Module, layout: Layout, *, bf16: bool) -> None:
    """Shard a model in place, if the layout has ranks to shard over. With `bf16` weights are gathered and
    layers computed in bfloat16, while shards, optimiser and the sum of gradients stay in fp32.

    A pipeline keeps its layers gathered between micro-batches, which come every few milliseconds.
    """
    assert layout.mesh is not None
    degrees = layout.degrees
    if degrees.dp_replicate * degrees.shard_size == 1:
        return
    # Where there is one copy the mesh has one axis: two would exchange gradients twice.
    mesh = layout.mesh["dp_replicate", "fsdp"] if degrees.dp_replicate > 1 else layout.mesh["fsdp"]
    policy = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if bf16
        else MixedPrecisionPolicy()
    )
    given: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    # Logits are a view where a batch is flattened; nobody here changes them in place.
    warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
    for block in blocks_of(model):
        fully_shard(block, reshard_after_forward=degrees.pp == 1, **given)
    fully_shard(model, reshard_after_forward=False, **given)
