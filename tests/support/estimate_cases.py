"""Recipes of many shapes for the tests of estimates, and the models that they describe."""

from __future__ import annotations

import random
from typing import Any

import torch

from workbench.models.build import build_model
from workbench.models.purpose import Purpose
from workbench.recipe import Recipe
from workbench.recipe.families import FAMILIES

CASES = [(family.name, objective) for family in FAMILIES.values() for objective in family.objectives]


class FakeTokenizer:
    """As much of a tokenizer as building a model needs."""

    bos_token_id = eos_token_id = pad_token_id = cls_token_id = sep_token_id = 0

    def __len__(self) -> int:
        return 10


def recipe_of(family: str, objective: str, **model: Any) -> Recipe:
    """A recipe with a model section of these values."""
    return Recipe.model_validate({"model": {"family": family, **model}, "objective": {"name": objective}})


def random_shape(family: str, generator: random.Random) -> dict[str, Any]:
    """A model section of random odd sizes: no power of two, no size twice."""
    heads = generator.choice([1, 3, 4, 6])
    size = generator.choice([8, 10, 14])
    shape: dict[str, Any] = {
        "hidden_size": heads * size * generator.choice([1, 2]),
        "num_attention_heads": heads,
        "num_hidden_layers": generator.randint(1, 5),
        "vocab_size": generator.randint(260, 700),
        "max_position_embeddings": generator.randint(8, 99),
        "intermediate_size": generator.choice([None, generator.randint(8, 150)]),
    }
    if family == "llama":
        shape["num_key_value_heads"] = generator.choice([n for n in (1, 2, 3, 4, 6) if heads % n == 0])
    if family in ("llama", "t5"):
        shape["tie_word_embeddings"] = generator.random() < 0.5
    if family in ("t5", "bart"):
        shape["num_decoder_layers"] = generator.choice([None, 1, 2, 4])
    if family in ("bert", "electra"):
        shape["type_vocab_size"] = generator.randint(1, 3)
    if family == "electra":
        shape["embedding_size"] = generator.choice([None, 9, 33])
        shape["generator_size"] = generator.choice([0.25, 1 / 3, 0.5, 1.0])
    if family == "modernbert":
        shape["global_attn_every_n_layers"] = generator.randint(1, 4)
    return shape


def model_of(recipe: Recipe, labels: int = 2, device: str = "meta", **options: Any) -> Any:
    """The model of a recipe, without weights unless a device is named."""
    objective = recipe.objective
    names = tuple(f"label-{number}" for number in range(labels))
    named = objective.name in ("classification", "tagging")
    purpose = Purpose(objective.name, names if named else (), objective.next_sentence_prediction)
    tokenizer: Any = FakeTokenizer()
    with torch.device(device):
        section = recipe.model.model_copy(update=options)
        return build_model(section, tokenizer, purpose)
