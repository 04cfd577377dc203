"""A check that a model really keeps packed documents apart, instead of trusting that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workbench.errors import ModelError
from workbench.models.frame import device_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def check_isolation(model: PreTrainedModel, length: int = 8) -> None:
    """Raise `ModelError` unless the second of two packed documents is blind to the first.

    Two rows share their second document and differ in their first; its logits must be equal. Not
    every architecture reads document boundaries from the position ids, and none says so.
    """
    generator = torch.Generator().manual_seed(0)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(0, vocabulary, (2, 2 * length), generator=generator)
    ids[1, length:] = ids[0, length:]
    positions = torch.arange(length).repeat(2).expand(2, -1)
    was_training = model.training
    model.eval()
    logits = model(
        input_ids=ids.to(device_of(model)), position_ids=positions.to(device_of(model)), use_cache=False
    ).logits
    model.train(was_training)
    difference = (logits[0, length:] - logits[1, length:]).abs().max().item()
    scale = logits.abs().max().item()
    if not difference <= 1e-4 * max(scale, 1.0):
        raise ModelError(
            f"{type(model).__name__} does not keep packed documents apart "
            f"(logits differ by {difference:.2g})",
            hint="set data.isolate_documents=false to train across boundaries, or data.packing=false",
        )
