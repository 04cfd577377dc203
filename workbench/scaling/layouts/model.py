"""What the planner needs to know of a model: sizes, weights by place, and what its layers keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import ModelError
from workbench.models.estimate.load import DEFAULT_LENGTH, load_of
from workbench.models.estimate.parameters import count
from workbench.models.estimate.shape import shape_of

if TYPE_CHECKING:
    from workbench.models.estimate import Shape
    from workbench.recipe import Recipe

OBJECTIVES = ("clm", "sft")
"""Objectives whose step is one forward and one backward pass over rows of tokens."""


@dataclass(frozen=True)
class Model:
    """A stack of layers that are alike, between an embedding and a head.

    `layer` are the weights of one layer, `embedding` and `head` those of the ends (the head's are none where
    they are the embedding's), all before any split. `learning` is the share of the weights that have a
    gradient. `splits` says whether tensor, context and pipeline parallelism know the family; `shape` and
    `recipe` are there where the estimates know it, `source` where the sizes come from. `predicted` is the
    share of tokens whose logits are made.
    """

    name: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int
    layer: int
    embedding: int
    head: int
    gated: bool = True
    longest: int = DEFAULT_LENGTH
    tied: bool = False
    learning: float = 1.0
    splits: bool = True
    shape: Shape | None = None
    recipe: Recipe | None = None
    predicted: float = 1.0
    source: str = ""

    @property
    def weights(self) -> int:
        """All weights."""
        return self.layers * self.layer + self.embedding + self.head

    @property
    def queries(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all keys together, and of all values."""
        return self.key_value_heads * self.head_size

    @property
    def layer_products(self) -> int:
        """Multiplications of a token with the matrices of one layer."""
        attention = self.hidden * (2 * self.queries + 2 * self.keys)
        return attention + (3 if self.gated else 2) * self.hidden * self.feed_forward

    @property
    def head_products(self) -> int:
        """Multiplications of a token with the head."""
        return self.hidden * self.vocabulary

    def flops_per_token(self, length: int) -> float:
        """Of training, forward and backward, with attention to all pairs of tokens (Chowdhery et al. 2022,
        PaLM, appendix B): what model FLOPs utilisation counts."""
        products = self.layers * self.layer_products + self.predicted * self.head_products
        return 6.0 * products + 12.0 * self.layers * self.queries * length


def gpt(
    name: str,
    *,
    layers: int,
    hidden: int,
    heads: int,
    vocabulary: int,
    positions: int,
    source: str = "",
) -> Model:
    """A decoder as GPT-2 and GPT-3 are: feed-forward of four times the width, biases, learned positions, and
    the head tied to the embedding (Brown et al. 2020, section 2.1)."""
    return Model(
        name=name,
        layers=layers,
        hidden=hidden,
        feed_forward=4 * hidden,
        heads=heads,
        key_value_heads=heads,
        head_size=hidden // heads,
        vocabulary=vocabulary,
        layer=12 * hidden**2 + 13 * hidden,
        embedding=(vocabulary + positions) * hidden,
        head=2 * hidden,
        gated=False,
        longest=positions,
        tied=True,
        source=source,
    )


def model_of(recipe: Recipe, name: str) -> Model:
    """The model of a recipe. Raises `ModelError` where its shape cannot be told from here."""
    shape, notes = shape_of(recipe)
    if shape is None:
        raise ModelError(notes[0], where=name, hint="name a preset, a recipe, or a folder with a config.json")
    parameters, load = count(shape, recipe.tuning), load_of(recipe, shape)
    main, decoder = shape.main, shape.decoder
    layers = main.layers + (decoder.layers if decoder else 0)
    embedding = parameters.token_embeddings + parameters.position_embeddings + parameters.segment_embeddings
    final_norm = main.hidden if shape.family == "llama" else 0
    head = parameters.head + final_norm
    rest = parameters.total - embedding - head
    return Model(
        name=name,
        layers=layers,
        hidden=main.hidden,
        feed_forward=main.feed_forward,
        heads=main.heads,
        key_value_heads=main.key_value_heads,
        head_size=main.head_size,
        vocabulary=shape.vocabulary,
        layer=rest // layers,
        embedding=embedding + rest % layers,
        head=head,
        gated=main.gated,
        longest=shape.positions,
        tied=shape.tied,
        learning=parameters.trainable / parameters.total,
        splits=shape.family == "llama" and recipe.objective.name in OBJECTIVES,
        shape=shape,
        recipe=recipe,
        predicted=load.places / max(1, load.tokens),
    )
