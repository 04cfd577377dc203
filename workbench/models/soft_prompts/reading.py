"""A learned prompt read as the tokens that its vectors lie nearest to (Lester et al. 2021, section 6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workbench.errors import ModelError
from workbench.models.soft_prompts.nearest import nearest
from workbench.models.soft_prompts.saving import CONFIG, TABLE, WEIGHTS, read_tensors


@dataclass(frozen=True)
class NearToken:
    """A token of the vocabulary beside a virtual one: `cosine` of the angle between their vectors, and their
    distance `l2`; `text` is its text, with control characters and blanks escaped."""

    token: int
    text: str
    cosine: float
    l2: float


@torch.no_grad()
def nearest_to(
    prompt: torch.Tensor, table: torch.Tensor, tokenizer: Any, k: int = 5
) -> list[list[NearToken]]:
    """For each of the vectors `prompt` [P, D], the `k` rows of the embeddings `table` [V, D] with the largest
    cosine, nearest first. Raises `ModelError` where the sizes differ: the prompt is of another model."""
    if prompt.ndim != 2 or prompt.shape[1] != table.shape[1]:
        raise ModelError(
            f"the prompt is of shape {tuple(prompt.shape)}, the model's embeddings of {tuple(table.shape)}",
            hint="it was learned for another model",
        )
    # Rows behind the tokenizer's last are padding of the table, and no tokens.
    tokens = table.detach()[: len(tokenizer)]
    return [
        [
            NearToken(token, shown(tokenizer, token), cosine, float((tokens[token].float() - vector).norm()))
            for token, cosine in near
        ]
        for vector, near in zip(prompt.float(), nearest(prompt, tokens, k), strict=True)
    ]


def nearest_tokens(folder: Path, model: Any, tokenizer: Any, k: int = 5) -> list[list[NearToken]]:
    """The tokens nearest to each virtual token of a prompt saved in `folder`, of the model it is for.

    Raises `ModelError` for a prefix: keys and values inside of layers lie near no token.
    """
    try:
        kind = str(json.loads((folder / CONFIG).read_bytes())["peft_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"there is no soft prompt: {CONFIG}: {error}", where=str(folder)) from None
    if kind != "PROMPT_TUNING":
        prefix = "a prefix is keys and values inside the layers"
        word = prefix if kind == "PREFIX_TUNING" else f"{kind} is no prompt"
        raise ModelError(f"{word}, which lie near no token of the vocabulary", where=str(folder))
    prompt = read_tensors(folder / WEIGHTS).get(TABLE)
    if prompt is None:
        raise ModelError(f"{WEIGHTS} holds no {TABLE}", where=str(folder))
    return nearest_to(prompt, model.get_input_embeddings().weight, tokenizer, k)


def shown(tokenizer: Any, token: int) -> str:
    """The text of a token, in quotes, with what would not show escaped."""
    return escaped(str(tokenizer.decode([token], skip_special_tokens=False)))


def escaped(text: str) -> str:
    """A text in quotes, in which characters that move the cursor or cannot be printed are escaped."""
    return "“" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + "”"
