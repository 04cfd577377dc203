"""Training steps on random tokens, as our objectives make them, and what they save for backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from workbench.data.corruption.permutation import CONTEXT
from workbench.models.estimate import Load
from workbench.objectives import Batch
from workbench.objectives.clm import CausalLanguageModeling
from workbench.objectives.denoise import Denoising
from workbench.objectives.mlm import MaskedLanguageModeling
from workbench.objectives.plm import PermutationLanguageModeling
from workbench.objectives.rtd import ReplacedTokenDetection
from workbench.recipe import Recipe

IGNORE = -100
Loss = Callable[[], torch.Tensor]


def loss_of(model: Any, recipe: Recipe, load: Load, labels: int = 2) -> Loss:
    """A function that runs a micro-batch of random tokens forward and gives its loss."""
    rows, length = load.rows, load.length
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(1, vocabulary, (rows, length))
    # Two documents in each row, as packed rows have.
    cut = length // 3
    positions = torch.cat([torch.arange(cut), torch.arange(length - cut)]).expand(rows, -1)
    groups = torch.arange(2).repeat_interleave(torch.tensor([cut, length - cut])).expand(rows, -1)
    name = recipe.objective.name
    if name == "clm":
        tensors = {"input_ids": ids, "position_ids": positions, "targets": ids}
        clm = CausalLanguageModeling(recipe, None)
        return lambda: clm.loss(model, tensors, _batch(load)).sums[0] / ids.numel()
    if name in ("mlm", "rtd"):
        places = torch.randperm(rows * length)[: load.places]
        targets = torch.full((rows * length,), IGNORE)
        targets[places] = ids.flatten()[places]
        tensors = {
            "input_ids": ids,
            "position_ids": positions,
            "groups": groups,
            "targets": targets.view(rows, length),
            "uniforms": torch.rand(rows, length),
        }
        if recipe.objective.next_sentence_prediction:
            tensors |= {"token_type_ids": groups, "next_sentence": torch.ones(rows, dtype=torch.int64)}
        kind: Any = MaskedLanguageModeling if name == "mlm" else ReplacedTokenDetection
        objective = object.__new__(kind)
        objective.recipe = recipe
        return lambda: objective.loss(model, tensors, _batch(load)).sums.sum() / load.places
    if name == "plm":
        return _permuted(model, recipe, ids, groups, load)
    if name == "denoise":
        return _denoising(model, recipe, ids, groups, load)
    return _task(model, ids, load, name, labels)


def _batch(load: Load) -> Batch:
    return Batch({}, (load.rows * load.length,), load.rows * load.length)


def _permuted(model: Any, recipe: Recipe, ids: torch.Tensor, groups: torch.Tensor, load: Load) -> Loss:
    rows, length = ids.shape
    count = load.places // rows
    places = torch.rand(rows, length).argsort(-1)[:, :count]
    ranks = torch.full_like(ids, CONTEXT).scatter(1, places, torch.arange(count).expand(rows, -1))
    tensors = {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "ranks": ranks,
        "groups": groups,
        "places": places,
        "targets": ids.gather(1, places),
    }
    objective = object.__new__(PermutationLanguageModeling)
    objective.recipe = recipe
    return lambda: objective.loss(model, tensors, _batch(load)).sums.sum() / load.places


def _denoising(model: Any, recipe: Recipe, ids: torch.Tensor, groups: torch.Tensor, load: Load) -> Loss:
    rows = len(ids)
    targets = torch.randint(1, int(ids.max()), (rows, load.targets))
    tensors = {
        "input_ids": ids,
        "groups": groups,
        "decoder_input_ids": targets.roll(1, -1),
        "decoder_groups": (torch.arange(load.targets) * 3 >= load.targets).long().expand(rows, -1),
        "targets": targets,
    }
    objective = object.__new__(Denoising)
    objective.recipe = recipe
    return lambda: objective.loss(model, tensors, _batch(load)).sums.sum() / load.places


def _task(model: Any, ids: torch.Tensor, load: Load, name: str, labels: int) -> Loss:
    rows, length = ids.shape
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.model_type != "modernbert":
        inputs["token_type_ids"] = torch.zeros_like(ids)

    def loss() -> torch.Tensor:
        output = model(**inputs)
        if name == "span_extraction":
            place = torch.zeros(rows, dtype=torch.int64)
            return F.cross_entropy(output.start_logits.float(), place) + F.cross_entropy(
                output.end_logits.float(), place
            )
        logits = output.logits.float()
        if name == "regression":
            return F.mse_loss(logits.squeeze(-1), torch.zeros(rows))
        return F.cross_entropy(logits.flatten(0, -2), torch.zeros(logits[..., 0].numel(), dtype=torch.int64))

    return loss


@dataclass
class Saved:
    """Bytes saved for the backward pass, each tensor's memory once; weights are not among them."""

    total: int
    blocks: dict[int, tuple[int, tuple[int, ...], str]]


def saved_bytes(model: Any, forward: Loss, *, bf16: bool = False) -> Saved:
    """Run forward once and count what autograd keeps."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    blocks: dict[int, tuple[int, tuple[int, ...], str]] = {}
    keep = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights and place:
            blocks[place] = (tensor.untyped_storage().nbytes(), tuple(tensor.shape), str(tensor.dtype))
            keep.append(tensor)
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        result = forward()
    del result
    return Saved(sum(size for size, _, _ in blocks.values()), blocks)
