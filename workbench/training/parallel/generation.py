"""Writing with a model in a pipeline: every rank generates the same text, and each computes its own
layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

if TYPE_CHECKING:
    from workbench.training.parallel.pipeline_stepper import PipelineStepper


@contextlib.contextmanager
def lockstep(stepper: PipelineStepper) -> Iterator[nn.Module]:
    """Within, a model whose logits come out of the whole pipeline, on all of its ranks, which call it
    together.

    Without a cache: each token goes through the whole text again, which samples of a few dozen tokens can
    bear.
    """
    stage = stepper.stages[0]
    model: Any = stage.model
    group, last = stepper.group, stepper.layout.degrees.pp - 1
    size = model.config.get_text_config().vocab_size

    def forward(input_ids: Tensor, position_ids: Tensor | None = None, **others: Any) -> CausalLMOutput:
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        # The model's own forward is what a stage calls: it is put back while they work.
        with _own(model):
            said = stepper.through(input_ids, tensors={"position_ids": position_ids})
        if said is None:
            said = torch.empty(*input_ids.shape, size, device=input_ids.device)
        logits = said.float().contiguous()
        dist.broadcast(logits, group=group, group_src=last)
        return CausalLMOutput(logits=logits)

    @contextlib.contextmanager
    def _own(model: Any) -> Iterator[None]:
        del model.forward
        try:
            yield
        finally:
            model.forward = forward

    model.forward = forward
    # Whatever the caller says of a cache. By their names transformers knows what may be given.
    model.prepare_inputs_for_generation = lambda input_ids, attention_mask=None, **kwargs: {
        "input_ids": input_ids
    }
    try:
        yield model
    finally:
        del model.forward, model.prepare_inputs_for_generation
