"""ELECTRA's pair for replaced token detection: a small generator and the discriminator that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from workbench.models.masks import call_encoder

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
        self.new_weights: list[str] = []

    @classmethod
    def from_config(cls, config: ElectraConfig, generator_config: ElectraConfig) -> ReplacedTokenModel:
        """A new pair with random weights."""
        discriminator = ElectraForPreTraining(config)
        return cls(ElectraForMaskedLM(generator_config), discriminator)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> ReplacedTokenModel:
        """The pair that `save_pretrained` wrote, in fp32, from safetensors.

        `options` go to both parts as transformers takes them. Weights that the folder lacks are drawn anew
        and named in `new_weights`.
        """
        options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True} | options
        discriminator, found = ElectraForPreTraining.from_pretrained(folder, **options)
        generator, also = ElectraForMaskedLM.from_pretrained(Path(folder) / GENERATOR, **options)
        pair = cls(generator, discriminator)
        pair.new_weights = [
            *(f"discriminator.{name}" for name in sorted(found["missing_keys"])),
            *(f"generator.{name}" for name in sorted(also["missing_keys"])),
        ]
        return pair

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
        self.generator.activation_checkpointing_enable(options)
        self.discriminator.activation_checkpointing_enable(options)

    def save_pretrained(self, folder: str | Path) -> None:
        """The discriminator in `folder`, the generator in a folder inside."""
        self.discriminator.save_pretrained(folder)
        self.generator.save_pretrained(Path(folder) / GENERATOR)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        document_ids: torch.Tensor,
        places: torch.Tensor,
        uniforms: torch.Tensor,
    ) -> Replacements:
        """Fill the masks of `input_ids` [B, L] with samples of the generator, and judge every token.

        `position_ids`, `document_ids` [B, L] as `call_encoder` takes them; `places` [N] are the masks, in
        the flattened batch; `uniforms` [N] in [0, 1) decide what is sampled. The discriminator's gradient
        does not pass through the sampling. One forward for both, so that several processes exchange
        gradients once.
        """
        encoded = call_encoder(self.generator.electra, input_ids, position_ids, document_ids)
        hidden = encoded.last_hidden_state.flatten(0, 1)[places]
        logits = self.generator.generator_lm_head(self.generator.generator_predictions(hidden))
        sampled = sample_tokens(logits, uniforms)
        corrupted = input_ids.flatten().index_copy(0, places, sampled).view_as(input_ids)
        judged = call_encoder(self.discriminator, corrupted, position_ids, document_ids)
        return Replacements(logits, sampled, judged.logits)


class Replacements(NamedTuple):
    """What the pair makes of a batch: the generator's logits [N, V] at the masks, the tokens [N] sampled
    from them, and the discriminator's logits [B, L], positive for what it takes for replaced."""

    generator_logits: torch.Tensor
    sampled: torch.Tensor
    discriminator_logits: torch.Tensor


@torch.no_grad()
def sample_tokens(logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """One token for each row of logits [N, V]: the first whose cumulative probability is above its number
    in `uniforms` [N], so that what is drawn depends on no generator's state."""
    cumulative = logits.float().softmax(-1).cumsum(-1)
    # Rounding leaves the sum a little off 1.
    sought = uniforms.float().unsqueeze(-1) * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, sought, right=True).squeeze(-1)
    return found.clamp(max=logits.shape[-1] - 1)
