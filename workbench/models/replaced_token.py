"""ELECTRA's pair for replaced token detection: a small generator and the discriminator that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

GENERATOR = "generator"
"""The folder, inside the discriminator's, that holds the generator: what copies a model leaves it out."""


class ReplacedTokenModel(nn.Module):
    """A generator and a discriminator that share their token, position and segment embeddings.

    Clark et al. 2020, ELECTRA, section 3.2. The embeddings are one set of tensors, as wide as the
    configurations' `embedding_size`, which must be the same in both.
    """

    def __init__(self, generator: ElectraForMaskedLM, discriminator: ElectraForPreTraining) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        theirs, ours = generator.electra.embeddings, discriminator.electra.embeddings
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            setattr(theirs, name, getattr(ours, name))
        generator.generator_lm_head.weight = ours.word_embeddings.weight

    @classmethod
    def from_config(cls, config: ElectraConfig, generator_config: ElectraConfig) -> ReplacedTokenModel:
        """A new pair with random weights."""
        discriminator = ElectraForPreTraining(config)
        return cls(ElectraForMaskedLM(generator_config), discriminator)

    @property
    def config(self) -> ElectraConfig:
        """The discriminator's."""
        return self.discriminator.config

    @property
    def device(self) -> torch.device:
        """Where it is."""
        device: torch.device = self.discriminator.device
        return device

    def get_input_embeddings(self) -> nn.Module:
        """The shared token embeddings."""
        embeddings: nn.Module = self.discriminator.get_input_embeddings()
        return embeddings

    def get_output_embeddings(self) -> nn.Module:
        """The generator's last layer, which is the token embeddings again."""
        head: nn.Module = self.generator.generator_lm_head
        return head

    def activation_checkpointing_enable(self, options: dict[str, Any] | None = None) -> None:
        """Recompute activations in the backward pass, in both."""
        self.generator.gradient_checkpointing_enable(options)
        self.discriminator.gradient_checkpointing_enable(options)

    def save_pretrained(self, folder: str | Path) -> None:
        """The discriminator in `folder`, the generator in a folder inside."""
        self.discriminator.save_pretrained(folder)
        self.generator.save_pretrained(Path(folder) / GENERATOR)

    def forward(self, part: str, **inputs: Any) -> Any:
        """Call one of the two by name."""
        return getattr(self, part)(**inputs)
