"""A soft prompt as a runner holds it: keys and values that stand before the prompts of those who chose it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from workbench.errors import ModelError
from workbench.inference.loading.soft_prompt import SoftPrompt

Content = TypeVar("Content")


@dataclass(frozen=True, eq=False)
class PlacedPrefix(Generic[Content]):
    """`length` virtual tokens, written once and read by all rows that begin with them."""

    length: int
    key: bytes
    """What keys of prompts begin with in caches: the same tokens behind another prefix are others."""
    bytes: int
    """The memory that it takes, however many use it."""
    columns: int
    """How many of its tokens each row holds a copy of; 0 where rows only refer to it."""
    content: Content


def too_long(soft_prompt: SoftPrompt, most: int) -> ModelError:
    """More virtual tokens than a model takes at all."""
    return ModelError(
        f"the soft prompt's {soft_prompt.length:,} virtual tokens leave no room in this model, which takes "
        f"{most:,}",
        where=soft_prompt.where,
    )
