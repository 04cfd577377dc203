"""The shape of a model as numbers: from a recipe's model section, or from the config.json of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.models.estimate.config_attention import attention_of_config
from workbench.recipe.attention_kinds import AttentionShape
from workbench.recipe.families import FAMILIES, FamilyName, ObjectiveName
from workbench.rope_extension import config_problem

if TYPE_CHECKING:
    from workbench.recipe import ModelSection, Recipe
    from workbench.rope_extension import RopeExtension

LIKE_LLAMA = ("mistral", "ministral", "qwen3", "workbench_llama")
"""Model types that are Llama but for what their tokens see, and for norms of queries and keys."""
RELATIVE_BUCKETS = 32
"""Buckets of T5's relative positions, one row of biases each."""


@dataclass(frozen=True)
class Stack:
    """Layers of one width: an encoder, a decoder, or ELECTRA's generator.

    `head_size` × `heads` is the width of the queries, which in T5 need not be `hidden`; `gated` says
    whether the feed-forward layer has a third matrix.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head_size: int
    gated: bool = False

    @property
    def queries(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all keys together, and of all values."""
        return self.key_value_heads * self.head_size


@dataclass(frozen=True)
class Shape:
    """All that the number of weights, of operations and of bytes follows from.

    `main` is the decoder of a decoder, the encoder of everything else; `decoder` and `generator` are there
    where the family and objective have them. `embedding` is the width of the token embeddings; `labels`
    the outputs of a task's head; `attention` is what the tokens of a decoder see. `bias` and
    `pretraining_head` only vary among existing models.
    """

    family: FamilyName
    objective: ObjectiveName
    vocabulary: int
    positions: int
    main: Stack
    decoder: Stack | None = None
    generator: Stack | None = None
    embedding: int = 0
    segments: int = 2
    tied: bool = True
    labels: int = 2
    next_sentence: bool = False
    local_attention: int = 128
    global_every: int = 3
    attention_bias: bool = False
    feed_forward_bias: bool = False
    attention: AttentionShape = AttentionShape()
    qk_norm: bool = False

    @property
    def is_task(self) -> bool:
        """Whether the head is one of few outputs, that of a task on labelled records or of a reward model."""
        return self.objective in ("classification", "regression", "tagging", "span_extraction", "reward")

    @property
    def global_layers(self) -> int:
        """Layers that attend to everything (ModernBERT); of other families, all."""
        if self.family != "modernbert":
            return self.main.layers
        return -(-self.main.layers // self.global_every)


def outputs_of_head(objective: ObjectiveName, labels: int) -> int:
    """How many numbers a task's head gives."""
    return {"regression": 1, "reward": 1, "span_extraction": 2}.get(objective, labels)


def shape_of(recipe: Recipe, labels: int = 2) -> tuple[Shape | None, tuple[str, ...]]:
    """The shape of a recipe's model, or None, and what is worth saying about it.

    A new model's shape is the recipe's own. An existing model's is read from config.json where the name is
    that of a folder here; of a hub name nothing is known without a download.
    """
    section, objective = recipe.model, recipe.objective
    if section.model_name_or_path:
        folder = Path(section.model_name_or_path).expanduser()
        shape, reason = _shape_of_folder(folder, objective.of_model, section.rope_extension)
        if shape is None:
            return None, (reason,)
        notes: tuple[str, ...] = ()
    else:
        vocabulary, notes = _vocabulary(section)
        shape = _new_shape(section, objective.of_model, vocabulary)
    return replace(
        shape,
        labels=outputs_of_head(objective.name, labels),
        next_sentence=objective.next_sentence_prediction
        and objective.name == "mlm"
        and shape.family == "bert",
    ), notes


def _new_shape(section: ModelSection, objective: ObjectiveName, vocabulary: int) -> Shape:
    family = section.family
    grouped = family == "llama"
    main = Stack(
        layers=section.num_hidden_layers,
        hidden=section.hidden_size,
        feed_forward=section.feed_forward_size,
        heads=section.num_attention_heads,
        key_value_heads=section.key_value_heads if grouped else section.num_attention_heads,
        head_size=section.hidden_size // section.num_attention_heads,
        gated=section.about.gated,
    )
    return Shape(
        family=family,
        objective=objective,
        vocabulary=vocabulary,
        positions=section.context,
        main=main,
        decoder=replace(main, layers=section.decoder_layers) if section.about.is_encoder_decoder else None,
        generator=_generator(section, main) if objective == "rtd" else None,
        embedding=(section.embedding_size or section.hidden_size)
        if family == "electra"
        else section.hidden_size,
        segments=section.type_vocab_size,
        tied=section.tie_word_embeddings if family == "llama" else True,
        local_attention=section.local_attention,
        global_every=section.global_attn_every_n_layers,
        attention=section.attention_shape,
        qk_norm=section.qk_norm and family == "llama",
    )


def _generator(section: ModelSection, main: Stack) -> Stack:
    width = section.generator_hidden_size
    feed_forward = section.feed_forward_of(width)
    if section.intermediate_size:
        feed_forward = round(section.intermediate_size * width / section.hidden_size)
    heads = section.generator_heads
    return replace(main, hidden=width, feed_forward=feed_forward, heads=heads, key_value_heads=heads)


def _vocabulary(section: ModelSection) -> tuple[int, tuple[str, ...]]:
    """The vocabulary that a new model will have: an existing tokenizer's, else the recipe's."""
    name = section.tokenizer_name_or_path
    if not name:
        return section.vocab_size, ()
    size = tokenizer_size(Path(name).expanduser())
    if size is None:
        return section.vocab_size, (
            f"the vocabulary is that of the tokenizer {name}, whose size is not known here; "
            f"reckoned with model.vocab_size {section.vocab_size:,}",
        )
    return size, ()


def tokenizer_size(folder: Path) -> int | None:
    """Entries of a tokenizer in a folder, from its tokenizer.json; None where there is none to read."""
    path = folder / "tokenizer.json"
    try:
        return _count_entries(str(path), path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=8)
def _count_entries(path: str, changed: int) -> int:
    """Cached by path and time of change: the file has megabytes, and forms ask at every key."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    # Unigram models list pairs of a piece and its score; the others map pieces to ids.
    known = {piece[0] if isinstance(piece, list) else piece for piece in vocabulary}
    return len(known | {entry["content"] for entry in content.get("added_tokens", [])})


def _shape_of_folder(
    folder: Path, objective: ObjectiveName, extension: RopeExtension | None
) -> tuple[Shape | None, str]:
    path = folder / "config.json"
    try:
        if not folder.is_dir():
            return (
                None,
                f"{folder} is no folder here: a model on the hub is not estimated before it is loaded",
            )
        config = json.loads(path.read_text(encoding="utf-8"))
        generator = None
        if objective == "rtd":
            generator = json.loads((folder / "generator" / "config.json").read_text(encoding="utf-8"))
        shape = shape_of_config(config, objective, generator)
        if extension is not None:
            if problem := config_problem(config):
                return None, f"{path}: {problem}"
            shape = replace(shape, positions=extension.context(shape.positions))
        return shape, ""
    except OSError as error:
        return None, f"{error.filename or path} cannot be read: {error.strerror}"
    except KeyError as error:
        return None, f"{path} does not say {error.args[0]}"
    except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
        return None, f"{path} cannot be used: {error}"


def shape_of_config(
    config: Mapping[str, Any], objective: ObjectiveName, generator: Mapping[str, Any] | None = None
) -> Shape:
    """The shape that a transformers configuration describes.

    Raises `ValueError` for a family that is not among ours, `KeyError` for a size that is missing.
    """
    kind = str(config.get("model_type"))
    family = "llama" if kind in LIKE_LLAMA else kind
    if family not in FAMILIES:
        known_kinds = ", ".join([*FAMILIES, *LIKE_LLAMA])
        raise ValueError(f"model_type is {kind}; estimates know {known_kinds}")
    known: FamilyName = FAMILIES[family].name
    if kind == "qwen3":
        config = {"head_dim": 128, **config}
    main = _stack(known, config, "encoder")
    is_pair = FAMILIES[known].is_encoder_decoder
    width = int(config["embedding_size"]) if known == "electra" else main.hidden
    # Llama's are not tied unless the file says so. T5's always are in transformers, whatever it says.
    tied = known == "t5" or bool(config.get("tie_word_embeddings", known != "llama"))
    return Shape(
        family=known,
        objective=objective,
        vocabulary=int(config["vocab_size"]),
        positions=int(config.get("max_position_embeddings", config.get("n_positions", 512))),
        main=main,
        decoder=_stack(known, config, "decoder") if is_pair else None,
        generator=_stack("electra", generator, "encoder") if generator is not None else None,
        embedding=width,
        segments=int(config.get("type_vocab_size", 2)),
        tied=tied,
        local_attention=int(config.get("local_attention", 128)),
        global_every=int(config.get("global_attn_every_n_layers", 3)),
        attention_bias=known in ("llama", "modernbert") and bool(config.get("attention_bias", False)),
        feed_forward_bias=known in ("llama", "modernbert") and bool(config.get("mlp_bias", False)),
        attention=attention_of_config(kind, config, main.layers) if known == "llama" else AttentionShape(),
        qk_norm=kind == "qwen3" or (known == "llama" and bool(config.get("qk_norm", False))),
    )


def _stack(family: FamilyName, config: Mapping[str, Any], side: str) -> Stack:
    if family == "xlnet":
        hidden, heads = int(config["d_model"]), int(config["n_head"])
        return Stack(int(config["n_layer"]), hidden, int(config["d_inner"]), heads, heads, hidden // heads)
    if family == "t5":
        layers = int(config["num_layers"])
        if side == "decoder":
            layers = int(config.get("num_decoder_layers") or layers)
        heads = int(config["num_heads"])
        gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")
        hidden, inner, head = int(config["d_model"]), int(config["d_ff"]), int(config["d_kv"])
        return Stack(layers, hidden, inner, heads, heads, head, gated)
    if family == "bart":
        hidden, heads = int(config["d_model"]), int(config[f"{side}_attention_heads"])
        layers, inner = int(config[f"{side}_layers"]), int(config[f"{side}_ffn_dim"])
        return Stack(layers, hidden, inner, heads, heads, hidden // heads)
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    groups = int(config.get("num_key_value_heads") or heads) if family == "llama" else heads
    head = int((family == "llama" and config.get("head_dim")) or hidden // heads)
    inner, layers = int(config["intermediate_size"]), int(config["num_hidden_layers"])
    return Stack(layers, hidden, inner, heads, groups, head, FAMILIES[family].gated)
