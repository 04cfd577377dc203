"""The last layers of a model: which they are, for which labels, and new ones for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from workbench.models.purpose import Purpose

SPAN_OUTPUTS = 2
"""A span is extracted by two numbers for each token: how likely it begins there, and ends there."""


def head_names(model: Any) -> list[str]:
    """The children that are not the encoder and hold weights: the last layers."""
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def set_head(config: Any, purpose: Purpose) -> bool:
    """Give a configuration the labels of a task; True when those it had are the same, in the same order."""
    had = tuple(str(config.id2label[number]) for number in range(config.num_labels))
    if purpose.objective == "regression":
        config.num_labels, config.problem_type = 1, "regression"
        return len(had) == 1
    if purpose.objective == "reward":
        config.id2label, config.label2id, config.problem_type = {0: "reward"}, {"reward": 0}, None
        return len(had) == 1
    if purpose.objective == "span_extraction":
        config.num_labels, config.problem_type = SPAN_OUTPUTS, None
        return len(had) == SPAN_OUTPUTS
    if purpose.labels:
        config.id2label = dict(enumerate(purpose.labels))
        config.label2id = {label: number for number, label in enumerate(purpose.labels)}
        config.problem_type = "single_label_classification" if purpose.objective == "classification" else None
    return had == purpose.labels


@torch.no_grad()
def renew_head(model: Any) -> list[str]:
    """Draw the last layers anew, from torch's global generator; the names of their weights."""
    renewed = []
    for head in head_names(model):
        for path, layer in model.get_submodule(head).named_modules(prefix=head):
            for name, weights in layer.named_parameters(recurse=False):
                # What came out of a file is marked, and transformers leaves it as it is.
                weights._is_hf_initialized = False
                renewed.append(f"{path}.{name}")
            model._init_weights(layer)
    return renewed
