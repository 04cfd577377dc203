"""Soft prompts of PEFT: learnt vectors, or keys and values, that stand before a prompt.

What PEFT saves is one matrix, a row for each virtual token: P-tuning's network and a prefix's projection are
folded into it. It is read without PEFT and without the model, so that many can be put on one that runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch

from workbench.errors import ModelError
from workbench.store.soft_prompts import KINDS

PREFIX = "PREFIX_TUNING"
MATRIX = "prompt_embeddings"
"""The name of the matrix in PEFT's file."""


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of a token, and the size of its embeddings: `heads` of keys (and of values) of
    `head_size` numbers in each of `layers`. Zero `heads` where layers differ from each other."""

    layers: int
    heads: int
    head_size: int
    hidden: int
    is_encoder_decoder: bool = False

    @property
    def numbers(self) -> int:
        """Of the keys and values of one token, in all layers."""
        return 2 * self.layers * self.heads * self.head_size


@dataclass(frozen=True)
class SoftPrompt:
    """`matrix` [n, w] holds n virtual tokens: embeddings (prompt tuning: Lester et al. 2021; P-tuning: Liu et
    al. 2021), or the keys and values of every layer (prefix tuning: Li & Liang 2021). Of an encoder–decoder,
    embeddings are the encoder's, and keys and values the decoder's."""

    kind: str
    """PEFT's word for it."""
    matrix: torch.Tensor
    base: str = ""
    """The model that it was trained for, as it says itself."""
    where: str = ""
    """Its folder, for errors."""
    layers: int | None = None
    """Of that model, if it is known."""
    changed: int | None = None
    """When its file was written, in nanoseconds."""

    @property
    def length(self) -> int:
        """Virtual tokens."""
        return len(self.matrix)

    @property
    def kind_words(self) -> str:
        """What people call its kind."""
        return KINDS[self.kind]

    @property
    def is_prefix(self) -> bool:
        """Whether it is keys and values rather than embeddings."""
        return self.kind == PREFIX

    @cached_property
    def key(self) -> bytes:
        """Sixteen bytes that stand for what is in it."""
        numbers = self.matrix.contiguous().view(torch.uint8).numpy()
        return blake2b(self.kind.encode() + numbers.tobytes(), digest_size=16).digest()

    def embeddings(self, shape: CacheShape, like: torch.Tensor) -> torch.Tensor:
        """The vectors [n, D], of the type and on the device of `like`. Raises `ModelError`."""
        width = self.matrix.shape[1]
        if width != shape.hidden:
            raise self._misfit(f"its vectors have {width:,} numbers, the model's embeddings {shape.hidden:,}")
        return self.matrix.to(like)

    def keys_values(self, shape: CacheShape, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, each [layers, heads, n, head_size], of the type and on the device of `like`.

        Raises `ModelError`.
        """
        width = self.matrix.shape[1]
        if not shape.heads:
            raise self._misfit("this model's layers keep keys and values of different shapes")
        if width != shape.numbers:
            of_layer = width // (2 * self.layers) if self.layers else 0
            own = f"2 × {self.layers} layers × {of_layer} = {width:,}" if of_layer else f"{width:,}"
            raise self._misfit(
                f"its keys and values of a token are {own} numbers, this model's 2 × {shape.layers} layers × "
                f"{shape.heads} heads × {shape.head_size} = {shape.numbers:,}"
            )
        parts = self.matrix.to(like).view(self.length, shape.layers, 2, shape.heads, shape.head_size)
        if shape.is_encoder_decoder:
            # PEFT deals out twice as many, by turns to a layer's attention to itself and to the encoder, and
            # uses only the former: so the decoder's layers get every second pair, from the first on again.
            parts = parts[:, [2 * layer % shape.layers for layer in range(shape.layers)]]
        keys, values = parts.permute(2, 1, 3, 0, 4).contiguous()
        return keys, values

    def _misfit(self, why: str) -> ModelError:
        return ModelError(
            f"the soft prompt does not fit the model: {why}",
            where=self.where,
            hint=f"it was trained for {self.base}" if self.base else "",
        )
