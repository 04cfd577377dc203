"""The families of models that can be built from scratch: what each is, reads and is trained to do.

One table for everyone who needs to know it: the recipe's checks, the builder, the estimates, the
interface. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FamilyName = Literal["llama", "bert", "modernbert", "xlnet", "electra", "t5", "bart"]
PretrainingName = Literal["clm", "mlm", "plm", "rtd", "denoise"]
AlignmentName = Literal["sft", "reward", "dpo", "ppo"]
TaskName = Literal["classification", "regression", "tagging", "span_extraction"]
ObjectiveName = PretrainingName | AlignmentName | TaskName
Pattern = Literal["causal", "bidirectional", "permutation", "encoder-decoder"]

PRETRAINING = get_args(PretrainingName)
ALIGNMENT = get_args(AlignmentName)
TASKS = get_args(TaskName)

OF_MODEL: dict[str, ObjectiveName] = {"sft": "clm", "dpo": "clm", "ppo": "clm"}
"""Objectives that train the models of another one: conversations are continued like any text."""


@dataclass(frozen=True)
class Family:
    """One architecture.

    `objectives` are those it is built for, the first by default; `keys` are the shape's keys that mean
    something here beside the common ones; `feed_forward` is the default width of the feed-forward layer as a
    share of the hidden size, rounded up to `multiple`; `gated` says whether it has a third matrix.
    """

    name: FamilyName
    title: str
    kind: str
    pattern: Pattern
    source: str
    objectives: tuple[ObjectiveName, ...]
    keys: tuple[str, ...]
    feed_forward: float
    multiple: int
    gated: bool

    @property
    def trained_by(self) -> tuple[str, ...]:
        """All objectives that can train it."""
        others = (name for name, own in OF_MODEL.items() if own in self.objectives)
        return (*self.objectives, *others, *(("reward",) if "clm" in self.objectives else ()))

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether it has two stacks."""
        return self.pattern == "encoder-decoder"


COMMON_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "initializer_range",
    "dropout",
)
"""Keys of the model section that give the shape of any family."""

EXTENSION_KEYS = ("rope_scaling", "rope_factor")
"""Keys that stretch rotary positions."""

ATTENTION_KEYS = (
    "attention",
    "sliding_window",
    "global_tokens",
    "global_attn_every_n_layers",
    "attention_stride",
)
"""Keys that say what a token sees."""

_ENCODER_TASKS: tuple[ObjectiveName, ...] = ("classification", "regression", "tagging", "span_extraction")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "llama",
            "Llama",
            "decoder",
            "causal",
            "Touvron et al. 2023",
            ("clm",),
            (
                *("num_key_value_heads", "tie_word_embeddings", "rope_theta", *EXTENSION_KEYS),
                *("rms_norm_eps", *ATTENTION_KEYS, "qk_norm", "init"),
            ),
            8 / 3,
            64,
            True,
        ),
        Family(
            "bert",
            "BERT",
            "encoder",
            "bidirectional",
            "Devlin et al. 2019",
            ("mlm", *_ENCODER_TASKS),
            ("type_vocab_size",),
            4,
            1,
            False,
        ),
        Family(
            "modernbert",
            "ModernBERT",
            "encoder",
            "bidirectional",
            "Warner et al. 2024",
            ("mlm", *_ENCODER_TASKS),
            ("local_attention", "global_attn_every_n_layers", "rope_theta", *EXTENSION_KEYS),
            1.5,
            1,
            True,
        ),
        Family(
            "xlnet",
            "XLNet",
            "permutation",
            "permutation",
            "Yang et al. 2019",
            ("plm", *_ENCODER_TASKS),
            (),
            4,
            1,
            False,
        ),
        Family(
            "electra",
            "ELECTRA",
            "generator and discriminator",
            "bidirectional",
            "Clark et al. 2020",
            ("rtd", "mlm", *_ENCODER_TASKS),
            ("type_vocab_size", "embedding_size", "generator_size"),
            4,
            1,
            False,
        ),
        Family(
            "t5",
            "T5",
            "encoder and decoder",
            "encoder-decoder",
            "Raffel et al. 2020",
            ("denoise",),
            ("num_decoder_layers",),
            4,
            1,
            False,
        ),
        Family(
            "bart",
            "BART",
            "encoder and decoder",
            "encoder-decoder",
            "Lewis et al. 2020",
            ("denoise",),
            ("num_decoder_layers",),
            4,
            1,
            False,
        ),
    )
}

OBJECTIVES: dict[str, str] = {
    "clm": "causal language modelling: predict the next token",
    "mlm": "masked language modelling: predict masked tokens from both sides",
    "plm": "permutation language modelling: predict tokens in a random order, in two streams",
    "rtd": "replaced token detection: tell which tokens a small generator replaced",
    "denoise": "denoising: restore spans that were cut out of the text",
    "sft": "supervised fine-tuning: predict what the assistant says in conversations",
    "reward": "reward model: score answers as people ranked them",
    "dpo": "direct preference optimisation: prefer the answers that people preferred",
    "ppo": "reinforcement learning: write answers, have them scored, make the better ones likelier",
    "classification": "one label for a text or a pair of texts",
    "regression": "one number for a text or a pair of texts",
    "tagging": "one label for each word (IOB2 entities, parts of speech)",
    "span_extraction": "the span of a context that answers a question",
}
"""What each objective asks of a model, in a line."""


def default_family(objective: str) -> FamilyName:
    """The first family that it trains: its own, and BERT for the tasks."""
    return next((family.name for family in FAMILIES.values() if objective in family.trained_by), "bert")
