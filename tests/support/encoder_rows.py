"""A small tokenizer, a store of made-up documents and a recipe for objectives on framed rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from workbench.data import TokenStore
from workbench.data.framing import frame_for
from workbench.data.special_tokens import STYLES
from workbench.data.token_store import Side, TokenWriter
from workbench.data.tokenizer_models import MODELS
from workbench.models.build import build_model
from workbench.models.purpose import Purpose
from workbench.objectives import OBJECTIVES, Batch, LossOutput
from workbench.objectives.masked_rows import Framed, MaskedRows, Row
from workbench.recipe import Recipe

SENTENCE = (
    "the king and queen of a small country were walking along river when they found an old bridge "
    "that nobody had crossed for hundred years because people said something lived under it"
)
WORDS = SENTENCE.split()


def document(seed: int, words: int) -> str:
    """Random words, a full stop behind every seventh, a newline behind every fourth sentence."""
    rng = random.Random(seed)
    parts = []
    for number in range(words):
        end = ".\n" if number % 28 == 27 else "." if number % 7 == 6 else ""
        parts.append(rng.choice(WORDS) + end)
    return " ".join(parts)


TEXTS = [document(seed, words) for seed, words in enumerate([9, 40, 3, 120, 17, 60, 5, 30, 80, 11])]
LENGTH = 48
CPU = torch.device("cpu")


@cache
def tokenizer_for(family: str = "bert", vocab_size: int = 380) -> Any:
    """A byte-level BPE as a run of the family would train, too small to have every word whole."""
    from transformers import PreTrainedTokenizerFast

    texts = iter(document(seed, 200) for seed in range(20))
    trained, trainer = MODELS["bpe"](vocab_size, STYLES[family])
    trained.train_from_iterator(texts, trainer)
    trained.post_processor = STYLES[family].post_processor(trained)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, clean_up_tokenization_spaces=False, **STYLES[family].arguments
    )


def store_of(
    folder: Path, tokenizer: Any, texts: Sequence[str], *, objective: str = "mlm", side: Side = "train"
) -> TokenStore:
    """Texts as a run would store them, in their frames."""
    frame = frame_for(objective, tokenizer)
    target = folder / f"store-{objective}-{side}-{len(list(folder.iterdir()))}"
    with TokenWriter(target, np.dtype(np.uint16)) as writer:
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            writer.add([*frame.prefix, *ids, *frame.suffix], 0, len(text.encode()))
    return TokenStore(target, side, "uint16", (1.0,))


def recipe_of(family: str, objective: str, **changes: Any) -> Recipe:
    """Two layers of 32; `objective__whole_word_mask=True` changes one key."""
    values: dict[str, dict[str, Any]] = {
        "model": {
            "family": family,
            "vocab_size": 380,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
        },
        "objective": {"name": objective},
        "data": {},
        "training": {"seed": 5},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section][name] = value
    return Recipe.model_validate(values)


def model_of(recipe: Recipe, tokenizer: Any) -> Any:
    """The model that a recipe builds, in evaluation mode."""
    torch.manual_seed(0)
    section = recipe.objective
    purpose = Purpose(section.name, (), section.next_sentence_prediction)
    return build_model(recipe.model, tokenizer, purpose).eval()


class Setting:
    """An objective, its rows of both sides and its model, on ten documents of 3 to 120 words."""

    def __init__(self, folder: Path, family: str = "bert", objective: str = "mlm", **changes: Any) -> None:
        self.tokenizer = tokenizer_for(family)
        self.recipe = recipe_of(family, objective, **changes)
        self.objective: Any = OBJECTIVES[objective](self.recipe, self.tokenizer)
        self.store = store_of(folder, self.tokenizer, TEXTS, objective=objective)
        self.held_out = store_of(folder, self.tokenizer, TEXTS[::-1], objective=objective, side="eval")
        self.rows = self._rows(self.store, training=True)
        self.eval_rows = self._rows(self.held_out, training=False)
        self.model: Any = model_of(self.recipe, self.tokenizer)

    def _rows(self, store: TokenStore, *, training: bool) -> MaskedRows:
        rows = self.objective.rows(store, LENGTH, training=training)
        assert isinstance(rows, MaskedRows)
        return rows

    def tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        """A batch as the model gets it."""
        found: dict[str, torch.Tensor] = self.objective.tensors(batch, CPU)
        return found

    def loss(self, batch: Batch) -> LossOutput:
        """The objective's loss of a batch."""
        found: LossOutput = self.objective.loss(self.model, self.tensors(batch), batch)
        return found


def one_by_one(rows: list[Row]) -> list[Row]:
    """Each piece of packed rows as a row of its own, with the masks that it has."""
    parts = []
    for framed, masked, uniforms in rows:
        for piece in np.unique(framed.pieces):
            own = framed.pieces == piece
            fields = (framed.tokens, np.zeros_like(framed.pieces), framed.positions, framed.segments)
            parts.append(
                Row(
                    Framed(*(field[own] for field in fields)),
                    type(masked)(*(field[own] for field in masked)),
                    uniforms[own],
                )
            )
    return parts


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of a loss for each parameter, zeros where the loss does not depend on it."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }
