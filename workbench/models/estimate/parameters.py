"""How many weights a model has, by component: exact, from the shapes in transformers' modelling files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.models.estimate.matrices import Matrix, head, matrices
from workbench.models.estimate.shape import RELATIVE_BUCKETS, Shape, Stack

if TYPE_CHECKING:
    from workbench.recipe import TuningSection

COMPONENTS = (
    "token_embeddings",
    "position_embeddings",
    "segment_embeddings",
    "attention",
    "feed_forward",
    "norms",
    "projection",
    "head",
    "generator",
    "adapters",
)


@dataclass(frozen=True)
class Parameters:
    """Weights by component; what two components share (tied embeddings) is counted once, as embeddings.

    `position_embeddings` are also T5's relative biases; `segment_embeddings` also XLNet's; `projection`
    takes ELECTRA's embeddings to the width of its layers; `head` is what follows the last layer;
    `generator` what ELECTRA's generator has of its own; `adapters` low-rank ones, with the trainable copy
    of the head that goes with them, or a soft prompt with what it is learned through. `trainable` is what
    has a gradient.
    """

    token_embeddings: int
    position_embeddings: int
    segment_embeddings: int
    attention: int
    feed_forward: int
    norms: int
    projection: int
    head: int
    generator: int
    adapters: int
    trainable: int

    @property
    def total(self) -> int:
        """All weights."""
        return sum(self.components().values())

    @property
    def without_embeddings(self) -> int:
        """All but token, position and segment embeddings (N of Kaplan et al. 2020, section 2.1)."""
        return self.total - self.token_embeddings - self.position_embeddings - self.segment_embeddings

    def components(self) -> dict[str, int]:
        """Each component by name."""
        return {name: int(getattr(self, name)) for name in COMPONENTS}


def count(shape: Shape, tuning: TuningSection) -> Parameters:
    """The weights of a model of this shape, and which of them learn under `tuning`."""
    parts = matrices(shape)
    by_part = {
        part: sum(matrix.weights for matrix in parts if matrix.part == part)
        for part in ("attention", "feed_forward", "projection", "head", "generator")
    }
    main = shape.main
    found = {
        "token_embeddings": shape.vocabulary * shape.embedding + (main.hidden if _is_xlnet(shape) else 0),
        "position_embeddings": _positions(shape),
        "segment_embeddings": _segments(shape),
        "attention": by_part["attention"] + (3 * main.layers * main.hidden if _is_xlnet(shape) else 0),
        "feed_forward": by_part["feed_forward"],
        "norms": _norms(shape),
        "projection": by_part["projection"],
        "head": by_part["head"] + _head_norms(shape),
        "generator": by_part["generator"] + _generator_norms(shape),
        "adapters": 0,
    }
    total = sum(found.values())
    if tuning.is_soft_prompt:
        found["adapters"] = soft_prompt(shape, tuning)
        return Parameters(**found, trainable=found["adapters"])
    if tuning.method == "lora":
        found["adapters"] = _adapters(shape, parts, tuning)
        return Parameters(**found, trainable=found["adapters"])
    outside = sum(matrix.weights for matrix in head(shape) if not matrix.body) + _head_norms(shape)
    return Parameters(**found, trainable=outside if tuning.method == "frozen" else total)


def _is_xlnet(shape: Shape) -> bool:
    return shape.family == "xlnet"


def _positions(shape: Shape) -> int:
    if shape.family in ("bert", "electra"):
        return shape.positions * shape.embedding
    if shape.family == "bart":
        # BART counts positions from 2 on, and each stack has its own.
        return 2 * (shape.positions + 2) * shape.main.hidden
    if shape.family == "t5":
        assert shape.decoder is not None
        return RELATIVE_BUCKETS * (shape.main.heads + shape.decoder.heads)
    return 0


def _segments(shape: Shape) -> int:
    if shape.family in ("bert", "electra"):
        return shape.segments * shape.embedding
    return 2 * shape.main.layers * shape.main.hidden if _is_xlnet(shape) else 0


def _layer_norms(stack: Stack) -> int:
    """Two norms with scale and shift in each layer."""
    return 4 * stack.layers * stack.hidden


def _norms(shape: Shape) -> int:
    main, family, width = shape.main, shape.family, shape.main.hidden
    if family == "llama":
        return (2 * main.layers + 1) * width + (2 * main.layers * main.head_size if shape.qk_norm else 0)
    if family == "modernbert":
        # The first layer has none before its attention: the embeddings were normalised.
        return (2 * main.layers - 1) * width + 2 * width
    if family == "xlnet":
        return _layer_norms(main)
    if shape.decoder is not None:
        decoder = shape.decoder
        if family == "t5":
            return (2 * main.layers + 1) * width + (3 * decoder.layers + 1) * decoder.hidden
        return (4 * main.layers + 2) * width + (6 * decoder.layers + 2) * decoder.hidden
    return _layer_norms(main) + 2 * shape.embedding


def _head_norms(shape: Shape) -> int:
    if shape.family == "modernbert":
        return shape.main.hidden
    if shape.objective == "mlm":
        return 2 * shape.embedding
    return 0


def _generator_norms(shape: Shape) -> int:
    if shape.generator is None:
        return 0
    # Its embeddings' norm is its own, and there is one before its last layer.
    return _layer_norms(shape.generator) + 4 * shape.embedding


def soft_prompt(shape: Shape, tuning: TuningSection) -> int:
    """P vectors of the embeddings' width (Lester et al. 2021), or P keys and values of all layers (Li & Liang
    2021); with a projection, P vectors of a layer's keys and two layers that make the prefix of them."""
    wanted, stack = tuning.num_virtual_tokens, shape.decoder or shape.main
    if tuning.method == "prompt":
        return wanted * shape.embedding
    prefix = 2 * stack.layers * stack.keys
    if not tuning.prefix_projection:
        return wanted * prefix
    width = tuning.encoder_hidden_size or stack.keys
    return wanted * stack.keys + (stack.keys + 1) * width + (width + 1) * prefix


def _adapters(shape: Shape, parts: list[Matrix], tuning: TuningSection) -> int:
    """Two matrices of rank r beside each adapted one, and a trainable copy of a task's head.

    Hu et al. 2021, LoRA, section 4.1. PEFT finds layers by the last part of their names, so a layer of the
    head that is called as one of the body's is adapted too, unless the head is trained as a whole.
    """
    names = {matrix.name for matrix in parts if matrix.linear and matrix.body}
    wanted = {name.rpartition(".")[2] for name in tuning.target_modules} or names
    adapted = [
        matrix
        for matrix in parts
        if matrix.linear and matrix.name in wanted and (matrix.body or not shape.is_task)
    ]
    low_rank = sum(matrix.count * tuning.r * (matrix.inputs + matrix.outputs) for matrix in adapted)
    copied = sum(matrix.weights for matrix in parts if not matrix.body) + _head_norms(shape)
    return low_rank + (copied if shape.is_task else 0)
