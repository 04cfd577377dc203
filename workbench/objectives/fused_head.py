"""Log-probabilities of targets straight from a model's head, whose logits then never exist all at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from workbench.objectives.places import bare, instead
from workbench.ops.decoder_training.head import SummedLoss, summed_cross_entropy
from workbench.ops.selected_logprobs.logprobs import Selected, selected_logprobs

if TYPE_CHECKING:
    from torch import nn

IGNORE = -100


def can_fuse(model: nn.Module) -> bool:
    """Whether the logits of a decoder are what its head makes and nothing else, and the head a plain linear
    layer; a compiled model's head is part of what was compiled.

    Seen from what comes out of the model where the head is made to say something: a cap or a scale behind
    the head (Gemma 2, Cohere) would change it.
    """
    model = bare(model)
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    if type(head) is not torch.nn.Linear or type(head.weight) is not torch.nn.Parameter:
        # What is split over ranks is whole only inside its own forward.
        return False
    if getattr(model, "keeps_logits", False) or getattr(model, "_compiled_call_impl", None) is not None:
        return False
    said = torch.tensor([[[3.5]]], device=head.weight.device)
    ids = torch.zeros(1, 1, dtype=torch.int64, device=head.weight.device)
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        with torch.no_grad(), instead(head, lambda states: said):
            heard = model(input_ids=ids, use_cache=False).logits
    finally:
        for part in training:
            part.training = True
    return bool(torch.equal(heard, said))


def is_frozen(head: nn.Module) -> bool:
    """Whether nothing of a head is trained here and now: what is trained is faster with all its logits."""
    return not torch.is_grad_enabled() or not any(part.requires_grad for part in head.parameters())


@contextmanager
def logprobs_for_logits(head: Any, targets: torch.Tensor) -> Iterator[list[Selected]]:
    """Within, the model's logits are the log-probabilities [B, T, 1] of `targets` [B, T] (−100: 0, and no
    gradient), of each row's last T positions: virtual tokens stand before them. Yields a list that gets all
    that was found.

    The log-probabilities go the way of the logits, through the model's own forward: there several processes
    exchange gradients, and autocast sets the type of the products.
    """
    found: list[Selected] = []

    def forward(states: torch.Tensor) -> torch.Tensor:
        states = states[:, -targets.shape[1] :]
        found.append(selected_logprobs(states, head.weight, targets, head.bias))
        return found[0].logprobs.unsqueeze(-1)

    with instead(head, forward):
        yield found


@contextmanager
def loss_for_logits(head: Any, targets: torch.Tensor, z_loss: float = 0.0) -> Iterator[list[SummedLoss]]:
    """Within, the model's logits are the summed cross-entropy [1, 1, 1] of `targets` [B, T] (−100: none): see
    `summed_cross_entropy` and `logprobs_for_logits`. Yields a list that gets all that was found."""
    found: list[SummedLoss] = []

    def forward(states: torch.Tensor) -> torch.Tensor:
        states = states[:, -targets.shape[1] :]
        places = targets != IGNORE
        if bool(places.all()):
            few, answers = states.flatten(0, 1), targets.flatten()
        else:
            few, answers = states[places], targets[places]
        summed = summed_cross_entropy(few, head.weight, answers, z_loss)
        found.append(summed)
        return summed.loss.view(1, 1, 1)

    with instead(head, forward):
        yield found
