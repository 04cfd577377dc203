"""What is opened, with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from workbench.inference.loading.pooling import Pooling
from workbench.inference.loading.soft_prompt import SoftPrompt
from workbench.inference.loading.weights import own_weights

if TYPE_CHECKING:
    from workbench.inference.engine.transformers_runner import TransformersRunner

Kind = Literal["decoder", "encoder_decoder", "encoder", "embedder"]
"""What a model is there for: to write, to write from what an encoder read, to answer with a trained head,
to turn texts into vectors."""
Head = Literal["fill_mask", "classification", "regression", "reward", "tagging"]
"""The last layer of an encoder, or of a reward model, which reads as one does."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on its device."""

    name: str
    """What was asked for."""
    folder: Path
    """Where it was read from."""
    model: Any
    tokenizer: Any
    kind: Kind
    head: Head | None
    labels: tuple[str, ...]
    """The names of a head's outputs, in their order."""
    device: torch.device
    dtype: torch.dtype
    notes: tuple[str, ...]
    """What was decided, for people: `bf16: the CPU multiplies it natively (avx512_bf16)`."""
    max_length: int
    """Tokens it takes at once, those of a soft prompt not counted."""
    chat_template: str | None
    """How a conversation is written out; None for a model that was not taught to converse."""
    eos: frozenset[int]
    """Tokens that end an answer: those of the model, and of its tokenizer."""
    generation: dict[str, Any] = field(default_factory=dict)
    """What its generation_config.json says of sampling: `temperature`, `top_p`, `top_k` …"""
    adapters: tuple[str, ...] = ()
    """Folders of the adapters that are in it."""
    prefix: SoftPrompt | None = None
    """What stands before every prompt; whether it fits is known to the runner."""
    pooling: Pooling = Pooling()
    """How it makes one vector of a text."""

    def make_runner(self, max_length: int | None = None) -> TransformersRunner:
        """What the engine runs it by. Raises `ModelError` when its state is no cache of keys and values."""
        from workbench.inference.engine.dense_runner import dense_runner

        own_weights(self.model)
        return dense_runner(self.model, max_length=max_length, soft_prompt=self.prefix)
