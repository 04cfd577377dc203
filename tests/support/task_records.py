"""Small labelled records that a model can learn, and models and objectives for them."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from workbench.data.records import CHECKS, Record, encode_records
from workbench.data.special_tokens import STYLES
from workbench.models.build import build_model
from workbench.models.purpose import Purpose
from workbench.objectives import OBJECTIVES, Batch
from workbench.recipe import Recipe

SENTENCE = (
    "the king and queen of a small country were walking along river when they found an old bridge "
    "that nobody had crossed for hundred years because people said something lived under it"
)
WORDS = SENTENCE.split()

FAMILIES = ("bert", "modernbert", "electra", "xlnet")
TASKS = ("classification", "regression", "tagging", "span_extraction")
LABELS = {"classification": ("bad", "fine", "good"), "tagging": ("O", "B-LOC", "I-LOC", "B-PER")}
TAGS = {"river": "B-LOC", "bridge": "I-LOC", "king": "B-PER", "queen": "B-PER"}
LENGTH = 48


@cache
def tokenizer_for(family: str) -> Any:
    """A byte-level BPE with a family's special tokens, too small to have every word whole."""
    from transformers import PreTrainedTokenizerFast

    special = STYLES[family]
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=special.all, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    tokenizer.post_processor = special.post_processor(tokenizer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special.arguments)


def task_recipe(task: str, family: str) -> Recipe:
    """Two layers of 32."""
    model = {
        "family": family,
        "vocab_size": 380,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        # Wide enough that what a model of random weights makes of two texts differs.
        "initializer_range": 0.1,
    }
    return Recipe.model_validate({"model": model, "objective": {"name": task}, "training": {"seed": 5}})


def record_of(task: str, number: int) -> dict[str, Any]:
    """One record; the label follows from a word or the length of the text."""
    rng = random.Random(number)
    words = [rng.choice(WORDS) for _ in range(rng.randint(3, 12))]
    if task == "classification":
        label = LABELS["classification"][number % 3]
        return {"text": f"{label} {' '.join(words)}", "text_pair": "an old river", "label": label}
    if task == "regression":
        return {"text": " ".join(words), "label": len(words) / 10}
    if task == "tagging":
        return {"tokens": words, "tags": tags_of(words)}
    context = " ".join(words * 3)
    answer = f"the {number} old kings"
    context = f"{context} {answer} {' '.join(words * 2)}"
    return {"question": "who came along?", "context": context, "answers": {"text": [answer]}}


def tags_of(words: list[str]) -> list[str]:
    """IOB2: `river bridge` is one place, a bridge alone another."""
    tags: list[str] = []
    for word in words:
        tag = TAGS.get(word, "O")
        if tag == "I-LOC" and (not tags or tags[-1] == "O" or tags[-1] == "B-PER"):
            tag = "B-LOC"
        tags.append(tag)
    return tags


class TaskSetting:
    """An objective with rows of both sides and a model of two layers of 32."""

    def __init__(self, task: str, family: str = "bert", count: int = 12, length: int = LENGTH) -> None:
        self.tokenizer = tokenizer_for(family)
        self.recipe = task_recipe(task, family)
        self.objective: Any = OBJECTIVES[task](self.recipe, self.tokenizer)
        raw = [Record(record_of(task, number), f"test:{number}") for number in range(count)]
        self.records = [CHECKS[task](record) for record in raw]
        self.labels = LABELS.get(task, ())
        self.purpose = Purpose(self.recipe.objective.name, self.labels)
        self.store = encode_records(self.records, self.tokenizer, task, length, self.labels)
        self.rows: Any = self.objective.rows(self.store, length, training=True)
        self.held_out: Any = self.objective.rows(self.store, length, training=False)
        torch.manual_seed(0)
        self.model: Any = build_model(self.recipe.model, self.tokenizer, self.purpose).eval()

    def tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        """A batch as the model gets it."""
        found: dict[str, torch.Tensor] = self.objective.tensors(batch, torch.device("cpu"))
        return found

    def mean_loss(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch, per target."""
        output = self.objective.loss(self.model, self.tensors(batch), batch)
        return torch.as_tensor(output.sums.sum() / batch.counts[0])
