"""The matrices of each family, read off transformers' modelling files: what is multiplied, and by what.

Weights, operations and adapters are all counted from this one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.models.estimate.shape import Shape, Stack

Part = Literal["attention", "feed_forward", "projection", "head", "generator"]
Per = Literal["tokens", "targets", "places", "rows", "queries", "positions"]


@dataclass(frozen=True)
class Matrix:
    """Layers that multiply by a matrix [outputs, inputs], `count` of them alike.

    `per` says how many vectors each multiplies: `tokens` read by the encoder (or by a decoder alone),
    `targets` of the second stack, `places` whose token is predicted, `rows`, XLNet's `queries` of both
    streams (tokens and predicted places), its relative `positions`. `linear` says whether it is a module of
    its own, which adapters can be put beside; `shared` that the weights are the token embeddings, and
    counted there; `body` whether it belongs to the encoder rather than to its head.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool
    count: int
    part: Part
    per: Per
    linear: bool = True
    shared: bool = False
    body: bool = True

    @property
    def weights(self) -> int:
        """Weights of all of them, biases too."""
        matrix = 0 if self.shared else self.inputs * self.outputs
        return self.count * (matrix + (self.outputs if self.bias else 0))

    @property
    def products(self) -> int:
        """Multiplications for one vector."""
        return self.count * self.inputs * self.outputs


def matrices(shape: Shape) -> list[Matrix]:
    """Every matrix of the model, with its head and, for replaced token detection, its generator."""
    body = {
        "llama": _llama,
        "bert": _bert,
        "modernbert": _modernbert,
        "xlnet": _xlnet,
        "electra": _electra,
        "t5": _t5,
        "bart": _bart,
    }[shape.family](shape)
    return [*body, *head(shape)]


def _llama(shape: Shape) -> list[Matrix]:
    s, bias, wide = shape.main, shape.attention_bias, shape.feed_forward_bias
    return [
        Matrix("q_proj", s.hidden, s.queries, bias, s.layers, "attention", "tokens"),
        Matrix("k_proj", s.hidden, s.keys, bias, s.layers, "attention", "tokens"),
        Matrix("v_proj", s.hidden, s.keys, bias, s.layers, "attention", "tokens"),
        Matrix("o_proj", s.queries, s.hidden, bias, s.layers, "attention", "tokens"),
        Matrix("gate_proj", s.hidden, s.feed_forward, wide, s.layers, "feed_forward", "tokens"),
        Matrix("up_proj", s.hidden, s.feed_forward, wide, s.layers, "feed_forward", "tokens"),
        Matrix("down_proj", s.feed_forward, s.hidden, wide, s.layers, "feed_forward", "tokens"),
    ]


def _bert_layers(s: Stack, generator: bool = False) -> list[Matrix]:
    attention: Part = "generator" if generator else "attention"
    feed_forward: Part = "generator" if generator else "feed_forward"
    return [
        Matrix("query", s.hidden, s.hidden, True, s.layers, attention, "tokens"),
        Matrix("key", s.hidden, s.hidden, True, s.layers, attention, "tokens"),
        Matrix("value", s.hidden, s.hidden, True, s.layers, attention, "tokens"),
        Matrix("dense", s.hidden, s.hidden, True, s.layers, attention, "tokens"),
        Matrix("dense", s.hidden, s.feed_forward, True, s.layers, feed_forward, "tokens"),
        Matrix("dense", s.feed_forward, s.hidden, True, s.layers, feed_forward, "tokens"),
    ]


def _bert(shape: Shape) -> list[Matrix]:
    return _bert_layers(shape.main)


def _electra(shape: Shape) -> list[Matrix]:
    found = _bert_layers(shape.main)
    if shape.embedding != shape.main.hidden:
        found.append(
            Matrix("embeddings_project", shape.embedding, shape.main.hidden, True, 1, "projection", "tokens")
        )
    if shape.generator is not None:
        width = shape.generator.hidden
        found += _bert_layers(shape.generator, generator=True)
        if shape.embedding != width:
            found.append(Matrix("embeddings_project", shape.embedding, width, True, 1, "generator", "tokens"))
        found += [
            Matrix("dense", width, shape.embedding, True, 1, "generator", "places"),
            Matrix(
                "generator_lm_head",
                shape.embedding,
                shape.vocabulary,
                True,
                1,
                "generator",
                "places",
                shared=True,
            ),
        ]
    return found


def _modernbert(shape: Shape) -> list[Matrix]:
    s, bias, wide = shape.main, shape.attention_bias, shape.feed_forward_bias
    return [
        Matrix("Wqkv", s.hidden, 3 * s.hidden, bias, s.layers, "attention", "tokens"),
        Matrix("Wo", s.hidden, s.hidden, bias, s.layers, "attention", "tokens"),
        Matrix("Wi", s.hidden, 2 * s.feed_forward, wide, s.layers, "feed_forward", "tokens"),
        Matrix("Wo", s.feed_forward, s.hidden, wide, s.layers, "feed_forward", "tokens"),
    ]


def _xlnet(shape: Shape) -> list[Matrix]:
    s = shape.main
    # Attention's matrices are parameters in einsums, not modules.
    return [
        Matrix("q", s.hidden, s.hidden, False, s.layers, "attention", "queries", linear=False),
        Matrix("k", s.hidden, s.hidden, False, s.layers, "attention", "tokens", linear=False),
        Matrix("v", s.hidden, s.hidden, False, s.layers, "attention", "tokens", linear=False),
        Matrix("o", s.hidden, s.hidden, False, s.layers, "attention", "queries", linear=False),
        Matrix("r", s.hidden, s.hidden, False, s.layers, "attention", "positions", linear=False),
        Matrix("layer_1", s.hidden, s.feed_forward, True, s.layers, "feed_forward", "queries"),
        Matrix("layer_2", s.feed_forward, s.hidden, True, s.layers, "feed_forward", "queries"),
    ]


def _t5(shape: Shape) -> list[Matrix]:
    found = []
    for stack, per in _two_stacks(shape):
        # The decoder attends to itself, and to what the encoder made of the tokens.
        sources: list[Per] = ["tokens"] if per == "tokens" else ["targets", "tokens"]
        for source in sources:
            found += [
                Matrix("q", stack.hidden, stack.queries, False, stack.layers, "attention", per),
                Matrix("k", stack.hidden, stack.queries, False, stack.layers, "attention", source),
                Matrix("v", stack.hidden, stack.queries, False, stack.layers, "attention", source),
                Matrix("o", stack.queries, stack.hidden, False, stack.layers, "attention", per),
            ]
        names = ("wi_0", "wi_1") if stack.gated else ("wi",)
        found += [
            Matrix(name, stack.hidden, stack.feed_forward, False, stack.layers, "feed_forward", per)
            for name in names
        ]
        found.append(Matrix("wo", stack.feed_forward, stack.hidden, False, stack.layers, "feed_forward", per))
    return found


def _bart(shape: Shape) -> list[Matrix]:
    found = []
    for stack, per in _two_stacks(shape):
        sources: list[Per] = ["tokens"] if per == "tokens" else ["targets", "tokens"]
        for source in sources:
            found += [
                Matrix("q_proj", stack.hidden, stack.hidden, True, stack.layers, "attention", per),
                Matrix("k_proj", stack.hidden, stack.hidden, True, stack.layers, "attention", source),
                Matrix("v_proj", stack.hidden, stack.hidden, True, stack.layers, "attention", source),
                Matrix("out_proj", stack.hidden, stack.hidden, True, stack.layers, "attention", per),
            ]
        found += [
            Matrix("fc1", stack.hidden, stack.feed_forward, True, stack.layers, "feed_forward", per),
            Matrix("fc2", stack.feed_forward, stack.hidden, True, stack.layers, "feed_forward", per),
        ]
    return found


def _two_stacks(shape: Shape) -> list[tuple[Stack, Per]]:
    assert shape.decoder is not None
    return [(shape.main, "tokens"), (shape.decoder, "targets")]


def _head(
    name: str, inputs: int, outputs: int, per: Per, *, bias: bool = True, shared: bool = False
) -> Matrix:
    return Matrix(name, inputs, outputs, bias, 1, "head", per, shared=shared, body=False)


def head(shape: Shape) -> list[Matrix]:
    """The matrices behind the last layer."""
    family, objective = shape.family, shape.objective
    width, vocabulary = shape.main.hidden, shape.vocabulary
    if shape.is_task:
        return _task_head(shape)
    if objective == "rtd":
        return [_head("dense", width, width, "tokens"), _head("dense_prediction", width, 1, "tokens")]
    if family in ("llama", "t5", "bart"):
        per: Per = "tokens" if family == "llama" else "targets"
        return [_head("lm_head", width, vocabulary, per, bias=False, shared=shape.tied)]
    if family == "xlnet":
        return [_head("lm_loss", width, vocabulary, "places", shared=shape.tied)]
    found = [
        _head("dense", width, shape.embedding, "places", bias=family != "modernbert"),
        _head("decoder", shape.embedding, vocabulary, "places", shared=shape.tied),
    ]
    if shape.next_sentence:
        found += [_pooler(width), _head("seq_relationship", width, 2, "rows")]
    return found


def _pooler(width: int) -> Matrix:
    # Part of the encoder by its place, of the head by what it is for.
    return Matrix("dense", width, width, True, 1, "head", "rows")


def _task_head(shape: Shape) -> list[Matrix]:
    family, width, outputs = shape.family, shape.main.hidden, shape.labels
    if shape.objective == "reward":
        # Every token gets a score, also where only the last one's is used.
        return [_head("score", width, outputs, "tokens", bias=False)]
    whole = shape.objective in ("classification", "regression")
    per: Per = "rows" if whole else "tokens"
    last = _head("classifier", width, outputs, per)
    if family == "modernbert":
        # Its head sees every token, also where only the first one's answer is used.
        return [_head("dense", width, width, "rows" if whole else "tokens", bias=False), last]
    if not whole:
        return [last]
    if family == "bert":
        return [_pooler(width), last]
    return [_head("summary", width, width, "rows"), last]
