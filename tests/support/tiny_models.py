"""Models of every family, two to four layers of 32, and what a test asks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from workbench.models.build import build_model
from workbench.models.purpose import Purpose
from workbench.recipe import ModelSection
from workbench.recipe.families import FAMILIES

LABELS = ("apple", "pear", "quince")
CASES = [(family.name, objective) for family in FAMILIES.values() for objective in family.objectives]
VOCABULARY = 300


class FakeTokenizer:
    """As much of a tokenizer as building a model needs, all special ids different."""

    bos_token_id, eos_token_id, pad_token_id, cls_token_id, sep_token_id, mask_token_id = range(6)

    def __init__(self, size: int = VOCABULARY) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


def section_of(family: str, **values: Any) -> ModelSection:
    """Three layers: in ModernBERT one of them is global, two are local."""
    shape = {
        "family": family,
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "local_attention": 8,
    }
    return ModelSection.model_validate(shape | values)


def purpose_of(objective: Any) -> Purpose:
    return Purpose(objective, LABELS if objective in ("classification", "tagging") else ())


def model_of(family: str, objective: Any, seed: int = 0, **values: Any) -> Any:
    """A new model in evaluation mode."""
    torch.manual_seed(seed)
    tokenizer: Any = FakeTokenizer()
    return build_model(section_of(family, **values), tokenizer, purpose_of(objective)).eval()


def at(folder: Path | str, **values: Any) -> ModelSection:
    """A model section that names a folder."""
    return ModelSection(model_name_or_path=str(folder), **values)


def ids_of(length: int, rows: int = 2, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(6, VOCABULARY, (rows, length), generator=generator)


@torch.no_grad()
def answer_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """All the numbers a model answers with, in one vector."""
    if model.config.is_encoder_decoder:
        outputs: Any = (model(input_ids=ids, decoder_input_ids=ids).logits,)
    else:
        outputs = model(input_ids=ids, return_dict=False)
    return torch.cat([part.flatten() for part in outputs if isinstance(part, torch.Tensor)])


def size_of(model: Any) -> int:
    return sum(weights.numel() for weights in model.parameters())
