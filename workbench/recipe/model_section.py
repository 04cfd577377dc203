"""The model section: an existing model, or the shape of a new one."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.recipe.attention_kinds import (
    AttentionName,
    AttentionShape,
    InitName,
    attention_of,
    attention_problem,
)
from workbench.recipe.families import FAMILIES, Family, FamilyName
from workbench.recipe.section import Section
from workbench.rope_extension import (
    ROPE_THETA,
    RopeExtension,
    RopeMethod,
    extension_problem,
    positions_of,
    with_flat_keys,
)


class ModelSection(Section):
    """An existing model, or the shape of a new one."""

    model_name_or_path: str | None = Field(
        None,
        description="A folder or hub name of a model to start from. Empty: build a new one.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    tokenizer_name_or_path: str | None = Field(
        None,
        description="An existing tokenizer. Empty: the model's own, or, for a new model, "
        "a byte-level BPE trained on the data.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with a hub model. Only for authors you trust."
    )
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"] = Field(
        "sdpa", description="How attention is computed."
    )
    family: FamilyName = Field(
        "llama",
        description="Architecture of a new model. Decoder: llama; encoders: bert, modernbert; both: t5, bart;"
        " permutation: xlnet; generator and discriminator: electra.",
    )
    vocab_size: int = Field(
        4096, ge=260, le=1_000_000, description="Size of the vocabulary of a new tokenizer, and of the model."
    )
    hidden_size: int = Field(128, ge=8, description="Width of the residual stream.")
    intermediate_size: int | None = Field(
        None,
        ge=8,
        description="Width of the feed-forward layer. Empty: the family's own share of hidden_size, "
        "4 in most, 8/3 rounded up to 64 in llama, 3/2 in modernbert.",
    )
    num_hidden_layers: int = Field(4, ge=1, description="Number of transformer layers.")
    num_attention_heads: int = Field(4, ge=1, description="Number of query heads; divides hidden_size.")
    num_key_value_heads: int | None = Field(
        None, ge=1, description="Number of key/value heads (GQA); divides num_attention_heads. Empty: all."
    )
    max_position_embeddings: int = Field(256, ge=8, description="Context length in tokens.")
    num_decoder_layers: int | None = Field(
        None, ge=1, description="Layers of the decoder (t5, bart). Empty: as many as num_hidden_layers."
    )
    type_vocab_size: int = Field(2, ge=1, description="Kinds of segments, A and B (bert, electra).")
    embedding_size: int | None = Field(
        None, ge=8, description="Width of the token embeddings (electra). Empty: hidden_size."
    )
    generator_size: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Width of the generator, as a share of the discriminator (electra): 1/4 small, 1/3 base.",
    )
    local_attention: int = Field(
        128, ge=2, description="Window of the layers with local attention, in tokens (modernbert)."
    )
    global_attn_every_n_layers: int = Field(
        3,
        ge=1,
        description="One layer in so many attends to everything (modernbert; llama: attention window_global "
        "without global_tokens).",
    )
    attention: AttentionName = Field(
        "full",
        description="What a token sees (llama): full, sliding_window, window_global, strided or linear.",
    )
    sliding_window: int | None = Field(
        None,
        ge=1,
        description="Tokens that a window holds, the token itself among them. Empty: a quarter of the "
        "context, or the stride.",
    )
    global_tokens: int = Field(
        0,
        ge=0,
        description="attention window_global: so many first tokens are seen by all. 0: layers by turns.",
    )
    attention_stride: int | None = Field(
        None,
        ge=2,
        description="attention strided: every so manieth token is seen. Empty: the root of the context.",
    )
    qk_norm: bool = Field(
        False, description="RMS norm of queries and keys in each head, against growing logits (llama)."
    )
    init: InitName = Field(
        "normal",
        description="depth_scaled: what layers add starts smaller, by √(2 · layers) (llama).",
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="Dropout. Empty: none in a new model, an existing model's own."
    )
    tie_word_embeddings: bool = Field(True, description="One matrix for input embeddings and output layer.")
    initializer_range: float = Field(0.02, gt=0, description="Standard deviation of the initial weights.")
    rope_theta: float = Field(ROPE_THETA, gt=1, description="Base of the rotary position embedding.")
    rope_scaling: RopeMethod | None = Field(
        None,
        description="Reads beyond the trained length by other rotary angles: linear (position "
        "interpolation), ntk, dynamic or yarn. Transformers' mapping (rope_type, factor …) does too.",
    )
    rope_factor: float | None = Field(
        None, description="rope_scaling: how many times longer the context becomes; 1 leaves it."
    )
    original_max_position_embeddings: int | None = Field(
        None, ge=1, description="rope_scaling: the trained length. Empty: the model's context."
    )
    rope_beta_fast: float | None = Field(
        None, gt=0, description="rope_scaling yarn: pairs that turn more often are left alone. Empty: 32."
    )
    rope_beta_slow: float | None = Field(
        None, gt=0, description="rope_scaling yarn: pairs that turn less often are interpolated. Empty: 1."
    )
    rope_attention_factor: float | None = Field(
        None, gt=0, description="rope_scaling yarn: scale of queries and keys. Empty: 0.1 ln(factor) + 1."
    )
    rms_norm_eps: float = Field(1e-5, gt=0, description="Epsilon of the RMS normalisation.")

    @model_validator(mode="before")
    @classmethod
    def _rope_mapping(cls, values: Any) -> Any:
        return with_flat_keys(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _rope_fits(self) -> ModelSection:
        others = {
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "beta_fast": self.rope_beta_fast,
            "beta_slow": self.rope_beta_slow,
            "attention_factor": self.rope_attention_factor,
        }
        if problem := extension_problem(self.rope_scaling, self.rope_factor, others):
            raise ValueError(problem)
        if self.rope_scaling and not self.model_name_or_path and "rope_theta" not in self.about.keys:
            raise ValueError(
                f"rope_scaling stretches rotary positions, and {self.about.title} has "
                f"{positions_of(self.family)}; families llama and modernbert have rotary ones"
            )
        return self

    @model_validator(mode="after")
    def _attention_fits(self) -> ModelSection:
        if problem := attention_problem(self, self.model_fields_set):
            raise ValueError(problem)
        window = self.attention_shape.window or 0
        is_narrow = self.attention == "sliding_window" and window <= self.max_position_embeddings
        if self.rope_extension and self.context > self.max_position_embeddings and is_narrow:
            raise ValueError(
                f"rope_scaling helps nobody here: each token sees the last {window:,}, and no distance among "
                "them is new; leave it out, and take a longer max_position_embeddings"
            )
        return self

    @model_validator(mode="after")
    def _shapes_fit(self) -> ModelSection:
        if self.model_name_or_path:
            return self
        heads = self.num_attention_heads
        if self.hidden_size % heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {heads}; "
                f"{_nearest_divisor(self.hidden_size, heads)} heads would fit"
            )
        if self.family in ("llama", "modernbert") and (self.hidden_size // heads) % 2:
            raise ValueError(
                f"head size {self.hidden_size // heads} (hidden_size / num_attention_heads) is odd; "
                "rotary embeddings need an even one"
            )
        if self.num_key_value_heads and heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {heads} is not divisible by "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.family == "xlnet" and self.hidden_size % 2:
            raise ValueError(f"hidden_size {self.hidden_size} is odd; relative positions need an even one")
        return self

    @property
    def about(self) -> Family:
        """What there is to know about the family."""
        return FAMILIES[self.family]

    @property
    def attention_shape(self) -> AttentionShape:
        """The attention of a new model as numbers."""
        return attention_of(self)

    @property
    def rope_extension(self) -> RopeExtension | None:
        """How the rotary positions are stretched; None where they stay as they are."""
        if self.rope_scaling is None or self.rope_factor is None:
            return None
        return RopeExtension(
            self.rope_scaling,
            self.rope_factor,
            self.original_max_position_embeddings,
            self.rope_beta_fast,
            self.rope_beta_slow,
            self.rope_attention_factor,
        )

    @property
    def context(self) -> int:
        """Tokens of context of a new model: `max_position_embeddings`, times what they are stretched by."""
        extension = self.rope_extension
        if extension is None or extension.factor == 1:
            return self.max_position_embeddings
        return extension.context(self.max_position_embeddings)

    @property
    def feed_forward_size(self) -> int:
        """`intermediate_size`, or the family's share of the hidden size, rounded up to its multiple."""
        return self.intermediate_size or self.feed_forward_of(self.hidden_size)

    def feed_forward_of(self, hidden_size: int) -> int:
        """The feed-forward width that goes with a hidden size where none is given."""
        family = self.about
        return math.ceil(round(hidden_size * family.feed_forward, 6) / family.multiple) * family.multiple

    @property
    def key_value_heads(self) -> int:
        """`num_key_value_heads`, or its default: as many as there are query heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def decoder_layers(self) -> int:
        """`num_decoder_layers`, or its default: as many as the encoder has."""
        return self.num_decoder_layers or self.num_hidden_layers

    @property
    def generator_heads(self) -> int:
        """Attention heads of the generator, which are as wide as the discriminator's."""
        return max(1, round(self.num_attention_heads * self.generator_size))

    @property
    def generator_hidden_size(self) -> int:
        """The width of the generator: its share of the hidden size, as a whole number of heads."""
        return self.generator_heads * (self.hidden_size // self.num_attention_heads)


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: abs(d - wanted))
