"""Which weights of a model learn: all, only a new last layer, or low-rank adapters beside them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from workbench.errors import ModelError

if TYPE_CHECKING:
    from workbench.models.purpose import Purpose
    from workbench.recipe import TuningSection

TASK_TYPES = {
    "clm": "CAUSAL_LM",
    "denoise": "SEQ_2_SEQ_LM",
    "classification": "SEQ_CLS",
    "regression": "SEQ_CLS",
    "tagging": "TOKEN_CLS",
    "span_extraction": "QUESTION_ANS",
}
"""What PEFT calls a model for each objective; the others have no name there."""


def adapt(model: Any, tuning: TuningSection, purpose: Purpose, checkpoint: Path | None = None) -> nn.Module:
    """Freeze what is not to learn, or add adapters (Hu et al. 2021, LoRA), those of `checkpoint` if given.

    Raises `ModelError` when the recipe names layers that the model has not.
    """
    if tuning.method == "frozen":
        freeze(model)
    if tuning.method != "lora":
        adapted: nn.Module = model
        return adapted
    from peft import LoraConfig, PeftModel, get_peft_model

    if checkpoint is not None:
        loaded: nn.Module = PeftModel.from_pretrained(model, str(checkpoint), is_trainable=True)
        return loaded
    head = head_names(model) if purpose.is_task else []
    config = LoraConfig(
        r=tuning.r,
        lora_alpha=tuning.lora_alpha,
        lora_dropout=tuning.lora_dropout,
        target_modules=_targets(model, tuning.target_modules, head),
        modules_to_save=head or None,
        task_type=TASK_TYPES.get(purpose.objective),
    )
    wrapped: nn.Module = get_peft_model(model, config)
    return wrapped


def freeze(model: Any) -> None:
    """Let only what is outside the encoder learn."""
    body = getattr(model, model.base_model_prefix)
    for parameter in body.parameters():
        parameter.requires_grad_(False)


def head_names(model: Any) -> list[str]:
    """The children that are not the encoder: the last layers."""
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def _targets(model: Any, wanted: list[str], head: list[str]) -> list[str]:
    """The names of the linear layers to adapt, without the head."""
    body = getattr(model, model.base_model_prefix, model)
    linear = sorted(
        {name.rpartition(".")[2] for name, layer in body.named_modules() if isinstance(layer, nn.Linear)}
        - set(head)
    )
    for name in wanted:
        if name not in linear:
            near = difflib.get_close_matches(name, linear, n=1) or linear[:1]
            raise ModelError(
                f"tuning.target_modules names “{name}”, which is no linear layer of {type(model).__name__}",
                hint=f"did you mean {near[0]}? There are: {', '.join(linear)}" if near else "",
            )
    return wanted or linear
