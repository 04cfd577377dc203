"""A masked batch on its way through an encoder: logits only where they are needed."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import ModelError
from workbench.models.context import OFFSET_POSITIONS
from workbench.models.frame import device_of
from workbench.models.masks import call_encoder
from workbench.objectives.places import bare, only_at

if TYPE_CHECKING:
    from torch import nn

HEADS = ("cls.predictions", "generator_predictions", "lm_head", "head")
"""What follows the encoder in BERT, ELECTRA, RoBERTa and ModernBERT: the first step to logits."""


def head_of(model: nn.Module) -> nn.Module | None:
    """The module that takes hidden states [B, L, H] to logits, or to what the last layer takes."""
    for name in HEADS:
        try:
            found: nn.Module = attrgetter(name)(bare(model))
        except AttributeError:
            continue
        return found
    return None


def call_masked(
    model: nn.Module, tensors: dict[str, torch.Tensor], places: torch.Tensor
) -> tuple[torch.Tensor, Any]:
    """Logits [N, V] at `places` [N] of the flattened batch, and all that the model answered.

    `tensors`: `input_ids`, `position_ids`, `groups` and, for pairs, `token_type_ids`, each [B, L].
    """
    head = head_of(model)
    if head is None:
        output = call_rows(model, tensors)
        return output.logits.flatten(0, 1)[places], output
    with only_at(head, places):
        output = call_rows(model, tensors)
    logits = output.logits if hasattr(output, "logits") else output.prediction_logits
    return logits, output


def call_rows(model: nn.Module, tensors: dict[str, torch.Tensor]) -> Any:
    """An encoder's answer to rows of groups that see themselves alone."""
    config, positions = bare(model).config, tensors["position_ids"]
    if config.model_type in OFFSET_POSITIONS:
        positions = positions + int(config.pad_token_id or 0) + 1
    return call_encoder(
        model, tensors["input_ids"], positions, tensors["groups"], tensors.get("token_type_ids")
    )


@torch.no_grad()
def check_encoder_isolation(model: Any, length: int = 8) -> None:
    """Raise `ModelError` unless neither of two packed documents sees the other, nor any padding.

    Rows share their second document and differ in the first and in what stands under the padding; the
    logits of the second must be equal. Not every architecture heeds a mask for each pair of tokens.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(0, vocabulary, (2, 3 * length), generator=generator)
    ids[1, length : 2 * length] = ids[0, length : 2 * length]
    groups = torch.tensor([0, 1, -1]).repeat_interleave(length).expand(2, -1)
    positions = torch.arange(length).repeat(3).expand(2, -1)
    tensors = {"input_ids": ids, "position_ids": positions, "groups": groups}
    was_training = model.training
    model.eval()
    try:
        output = call_rows(model, {name: value.to(device_of(model)) for name, value in tensors.items()})
    except TypeError as error:
        raise _refusal(model, f"it takes no masks of pairs of tokens: {error}") from None
    finally:
        model.train(was_training)
    logits = output.logits if hasattr(output, "logits") else output.prediction_logits
    logits = logits[:, length : 2 * length].float()
    difference = (logits[0] - logits[1]).abs().max().item()
    if not difference <= 1e-4 * max(logits.abs().max().item(), 1.0):
        raise _refusal(model, f"logits differ by {difference:.2g}")


def _refusal(model: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} does not keep packed documents apart ({why})",
        hint="set data.isolate_documents=false to train across boundaries, or data.packing=false",
    )
