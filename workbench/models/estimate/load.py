"""How much a step works on: rows, their lengths, and how many tokens are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.models.estimate.shape import Shape
    from workbench.recipe import Recipe

DEFAULT_LENGTH = 2048
"""Tokens in a row where neither the recipe nor the model says less."""


@dataclass(frozen=True)
class Load:
    """One micro-batch of one process: `rows` of `length` tokens.

    `targets` are the tokens of a row that a decoder behind an encoder reads and predicts; `places` all
    tokens of the micro-batch whose logits are made.
    """

    rows: int
    length: int
    targets: int
    places: int

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""
        return self.rows * self.length


def load_of(recipe: Recipe, shape: Shape) -> Load:
    """The micro-batch of a recipe."""
    length = recipe.data.max_length or min(shape.positions, DEFAULT_LENGTH)
    return load_for(recipe, shape, recipe.training.per_device_train_batch_size, length)


def load_for(recipe: Recipe, shape: Shape, rows: int, length: int) -> Load:
    """A micro-batch of so many rows of so many tokens, with the objective's share of predicted ones."""
    section, name = recipe.objective, shape.objective
    targets = 0
    if name == "denoise":
        targets = length if section.noise == "infilling" else _span_targets(length, recipe)
    places = {
        "clm": rows * length,
        "mlm": round(rows * length * section.mlm_probability),
        "rtd": round(rows * length * section.mlm_probability),
        "plm": rows * max(1, round(length * section.plm_probability)),
        "denoise": rows * targets,
    }.get(name, 0)
    return Load(rows, length, targets, max(places, 1) if not shape.is_task else 0)


def _span_targets(length: int, recipe: Recipe) -> int:
    """Length of the target whose source fills `length` tokens (Raffel et al. 2020, section 3.1.4): of n
    tokens, noise is cut out; each span leaves one sentinel in the source and adds one to the target, and
    both end with one more token."""
    section = recipe.objective
    raw = max(2, round((length - 1) / (1 - section.noise_density * (1 - 1 / section.mean_noise_span_length))))
    noise = min(max(1, round(raw * section.noise_density)), raw - 1)
    return noise + max(1, round(noise / section.mean_noise_span_length)) + 1
