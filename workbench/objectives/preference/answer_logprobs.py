"""Log-probabilities of the answers of a batch under a model, in fp32 and without the prompt's logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.objectives.base import Batch
from workbench.objectives.places import bare, instead, only_at
from workbench.objectives.preference.sequence_logprobs import SequenceLogprobs, completion_logprobs
from workbench.ops.decoder_training.head import why_not
from workbench.ops.decoder_training.logprobs import target_logprobs
from workbench.ops.selected_logprobs.logprobs import selected_logprobs

if TYPE_CHECKING:
    from torch import nn

CHUNK = 1 << 25
"""Logits that are made fp32 at a time where the head is not a plain linear layer."""

LEAST_BLOCKED = 1 << 24
"""From so many logits on a CPU makes them block by block, twice: at the end of the forward pass, when memory
is fullest, 400 MiB less for 1,024 tokens of 49,152 in fp32. Native code does so always, and is faster."""


def answer_logprobs(
    model: nn.Module, tensors: dict[str, Tensor], batch: Batch, *, is_fused: bool
) -> SequenceLogprobs:
    """log π of each answer [S] of a batch that `PairRows` made. `is_fused`: the model's logits are what its
    head makes of the last hidden states (`can_fuse`), and need not all exist at once."""
    given: dict[str, Any] = {"position_ids": tensors["position_ids"]}
    if batch.extra["layout"] is not None:
        from workbench.models.shared_prompt.attention import flat_mask
        from workbench.models.shared_prompt.plan import plan_of

        given["row_plan"] = plan_of(tensors, batch.extra["layout"])
        given["attention_mask"] = flat_mask(tensors["input_ids"].device)
    head = bare(model).get_output_embeddings()
    places, targets = tensors["places"], tensors["targets"]
    if is_fused:
        with instead(head, _logprobs_of(head, places, targets)):
            found = model(input_ids=tensors["input_ids"], use_cache=False, **given).logits
    else:
        with only_at(head, places):
            logits = model(input_ids=tensors["input_ids"], use_cache=False, **given).logits
        found = _of_targets(logits.reshape(len(targets), -1), targets)
    lengths = tensors["answer_lengths"]
    width = int(batch.arrays["answer_lengths"].max())
    table = found.new_zeros(len(lengths) * width).index_copy(0, tensors["slots"], found)
    mask = torch.zeros(len(table), dtype=torch.bool, device=table.device)
    mask[tensors["slots"]] = True
    return completion_logprobs(table.view(-1, width), mask.view(-1, width))


def _of_targets(logits: Tensor, targets: Tensor) -> Tensor:
    rows = max(1, CHUNK // logits.shape[-1])
    parts = [
        part.float().log_softmax(-1).gather(1, ids[:, None])[:, 0]
        for part, ids in zip(logits.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _logprobs_of(head: Any, places: Tensor, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """What the head gives instead of logits: the log-probabilities [M] of `targets`, each predicted at its
    place of the flattened batch. They go the way of the logits, through the model's own forward."""

    def forward(states: Tensor) -> Tensor:
        states = states.flatten(0, 1).index_select(0, places)
        # What decides on the way is the head, never whether gradients are wanted now: else the reference
        # would be computed otherwise than the policy, and differ by rounding before anything is learnt.
        if head.weight.requires_grad and why_not(head) is None:
            return target_logprobs(states, head.weight, targets)
        blocked = states.device.type == "cpu" and len(states) * len(head.weight) >= LEAST_BLOCKED
        with torch.enable_grad():
            found = selected_logprobs(
                states, head.weight, targets, head.bias, path="chunked" if blocked else None
            ).logprobs
        return found if torch.is_grad_enabled() else found.detach()

    return forward
