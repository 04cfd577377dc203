"""Tensor parallelism: the matrices of each layer shared among ranks (Shoeybi et al. 2019, Megatron-LM).

Which matrix is cut how is transformers' own plan of the architecture (`base_model_tp_plan`); the cutting and
the exchanges are torch's `parallelize_module`. Weights become DTensors and keep their names.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from workbench.errors import ModelError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

COLUMNS, ROWS, GATHERED = "colwise", "rowwise", "colwise_gather_output"
SUMMED = "replicated_with_grad_allreduce"
"""A weight that all ranks hold and each uses on its own heads: its gradient is the sum of theirs."""
KNOWN = (COLUMNS, ROWS, GATHERED, SUMMED)


def plan_of(model: Any) -> dict[str, str]:
    """How each weight of a model is cut, by patterns of names; empty where transformers has no plan for
    it."""
    inner = getattr(model.config, "base_model_tp_plan", None) or {}
    prefix = model.base_model_prefix
    return {f"{prefix}.{name}": style for name, style in inner.items()}


def check_tensor_parallel(model: Any, degree: int, world_size: int) -> None:
    """Raise `ModelError` for a model that cannot be cut so."""
    instead = f"parallel.dp_shard={world_size} splits any model"
    plan = plan_of(model)
    if not plan or any(style not in KNOWN for style in plan.values()):
        strange = sorted({style for style in plan.values() if style not in KNOWN})
        why = f" (it asks for {', '.join(strange)})" if strange else ""
        raise ModelError(
            f"{type(model).__name__} has no plan for tensor parallelism that is known here{why}",
            where="parallel.tp",
            hint=instead,
        )
    for name, module in _matching(model, plan):
        if isinstance(module, nn.Linear):
            size = module.out_features if plan[_pattern(plan, name)] != ROWS else module.in_features
            if size % degree:
                raise ModelError(
                    f"parallel.tp {degree} does not divide the {size} features of {name}",
                    where="parallel.tp",
                    hint=f"a divisor of {size}; or {instead}",
                )


def cuts_vocabulary(model: Any) -> bool:
    """Whether embedding and head of a whole model are cut: one weight is in both places or in none, and an
    embedding that scales (Gemma) is not cut here."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return not is_tied(model) or (type(embedding) is nn.Embedding and type(head) is nn.Linear)


def parallelize(model: Any, mesh: DeviceMesh, *, vocabulary: bool = True) -> None:
    """Cut the matrices of a model over `mesh`, in place; those of the `vocabulary` too, if so. Every rank
    holds the same whole model, or its frame, before."""
    plan = plan_of(model)
    styles: dict[str, Any] = {}
    for name, module in _matching(model, plan):
        style = plan[_pattern(plan, name)]
        if isinstance(module, nn.Linear) and style != SUMMED:
            styles[name] = RowwiseParallel() if style == ROWS else ColwiseParallel()
    if vocabulary:
        styles.update(_vocabulary(model, mesh.size()))
    for name, style in styles.items():
        module = model.get_submodule(name)
        # All ranks hold the same weights already: nothing is sent.
        parallelize_module(module, mesh, style, src_data_rank=None)
        # At once: a matrix that is cut is whole on the device before.
        _let_go(module)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if is_tied(model) and type(embedding) is nn.Embedding and type(head) is nn.Linear:
        head.weight = embedding.weight


def add_up_gradients(model: Any, mesh: DeviceMesh) -> list[nn.Parameter]:
    """Have the gradients of what each rank uses on its own heads added up over `mesh`: once the model has the
    weights that are trained, and not those of a frame. Returns those of which nobody hears when a gradient is
    there, for they are sharded: theirs is to be added up when it is settled."""
    plan = plan_of(model)
    late: list[nn.Parameter] = []
    for name, module in _matching(model, plan):
        if plan[_pattern(plan, name)] != SUMMED:
            continue
        for weight in module.parameters():
            if isinstance(weight, DTensor):
                late.append(weight)
            elif weight.requires_grad:
                _sum_gradient(weight, mesh.get_group())
    return late


def _vocabulary(model: Any, degree: int) -> dict[str, Any]:
    """Embedding and head, both cut along the vocabulary, so that they can be one weight; whole where the
    degree does not divide it. All ranks get all logits."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, Any] = {}
    if type(embedding) is nn.Embedding and embedding.num_embeddings % degree == 0:
        found[names[id(embedding)]] = RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())
    if type(head) is nn.Linear and head.out_features % degree == 0:
        found[names[id(head)]] = ColwiseParallel(output_layouts=Replicate())
    return found


def is_tied(model: Any) -> bool:
    """Whether embedding and head are one weight."""
    return bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))


def _matching(model: nn.Module, plan: dict[str, str]) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if _pattern(plan, name)]


def _pattern(plan: dict[str, str], name: str) -> str:
    return next((pattern for pattern in plan if fnmatch.fnmatchcase(name, pattern)), "")


def _sum_gradient(weight: nn.Parameter, group: dist.ProcessGroup) -> None:
    def add_up(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient, group=group)
        return gradient

    weight.register_hook(add_up)


@torch.no_grad()
def _let_go(model: nn.Module) -> None:
    """A part of a tensor keeps all of it in memory: each rank's part becomes its own."""
    for weight in model.parameters():
        local = weight.to_local() if isinstance(weight, DTensor) else None
        if local is not None and local.untyped_storage().nbytes() > local.numel() * local.element_size():
            weight._local_tensor = local.clone()  # type: ignore[attr-defined]
