"""Activations that are computed again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Any

from workbench.errors import ModelError


def enable_checkpointing(model: Any) -> None:
    """Recompute activations in the backward pass. Raises `ModelError` where transformers cannot (XLNet)."""
    if not getattr(model, "supports_gradient_checkpointing", True):
        raise ModelError(
            f"{type(model).__name__} cannot recompute its activations",
            where="training.gradient_checkpointing",
            hint="set it to false, and halve training.per_device_train_batch_size if memory is short",
        )
    model.activation_checkpointing_enable({"use_reentrant": False})
