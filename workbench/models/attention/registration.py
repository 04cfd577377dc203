"""Our own type of model, made known to transformers' automatic classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from workbench.models.attention.attend import register_attention
from workbench.models.attention.configuration import MODEL_TYPE, WorkbenchLlamaConfig
from workbench.models.attention.modeling import (
    WorkbenchLlamaForCausalLM,
    WorkbenchLlamaForSequenceClassification,
    WorkbenchLlamaModel,
)


def register() -> None:
    """Once or again: it changes nothing the second time."""
    register_attention()
    AutoConfig.register(MODEL_TYPE, WorkbenchLlamaConfig, exist_ok=True)
    for automatic, model in (
        (AutoModel, WorkbenchLlamaModel),
        (AutoModelForCausalLM, WorkbenchLlamaForCausalLM),
        (AutoModelForSequenceClassification, WorkbenchLlamaForSequenceClassification),
    ):
        automatic.register(WorkbenchLlamaConfig, model, exist_ok=True)
