"""How much a step works on: rows, their lengths, and how many tokens are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.models.estimate.shape import Shape
    from workbench.recipe import Recipe

DEFAULT_LENGTH = 2048
"""Tokens in a row where neither the recipe nor the model says less."""

POLICY_LOGITS = 1 << 22
"""PPO makes so many logits at a time (on a CPU), and makes them again for the backward pass."""

PAIR_LOGITS = 1 << 24
"""The same of DPO."""

ANSWERS = 2
"""Answers to a prompt, each a row of its own for a reward model and for DPO: at least a pair."""


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
        """Tokens that the encoder reads, or a decoder alone."""
        return self.rows * self.length

    @property
    def counted(self) -> int:
        """Tokens of both stacks, as a run counts them."""
        return self.tokens + self.rows * self.targets


def load_of(recipe: Recipe, shape: Shape) -> Load:
    """The micro-batch of a recipe."""
    virtual = recipe.tuning.virtual_tokens
    room = max(1, shape.positions - virtual)
    # Who stretches a context trains all of it.
    length = recipe.data.max_length or (room if recipe.model.rope_extension else min(room, DEFAULT_LENGTH))
    # What prompt tuning puts before a row goes through every layer; a prefix is only attended to.
    length += virtual if recipe.tuning.method == "prompt" else 0
    rows = recipe.training.per_device_train_batch_size
    rows *= ANSWERS if recipe.objective.name in ("reward", "dpo") else 1
    return load_for(recipe, shape, rows, length)


def load_for(recipe: Recipe, shape: Shape, rows: int, length: int) -> Load:
    """A micro-batch of so many rows of so many tokens, with the objective's share of predicted ones."""
    section, name = recipe.objective, shape.objective
    targets = 0
    if name == "denoise" and section.noise == "infilling":
        # The decoder says the whole text, and reads no less of it than the encoder did.
        length, targets = _read(length, recipe), length
    elif name == "denoise":
        targets = _span_targets(length, recipe)
    places = {
        "clm": rows * length,
        "mlm": round(rows * length * section.mlm_probability),
        "rtd": round(rows * length * section.mlm_probability),
        "plm": rows * max(1, round(length * section.plm_probability)),
        "denoise": rows * targets,
    }.get(name, 0)
    if recipe.objective.name == "ppo":
        places = min(rows * recipe.ppo.response_length, max(1, POLICY_LOGITS // shape.vocabulary))
    if recipe.objective.name == "dpo":
        places = min(rows * length, max(1, PAIR_LOGITS // shape.vocabulary))
    return Load(rows, length, targets, 0 if shape.is_task else max(places, 1))


def _noise(length: int, recipe: Recipe) -> tuple[int, int]:
    """Tokens that are cut out of so many, and in how many spans (Raffel et al. 2020, section 3.1.4)."""
    section = recipe.objective
    noise = min(max(1, round(length * section.noise_density)), max(1, length - 1))
    return noise, max(1, round(noise / section.mean_noise_span_length))


def _read(length: int, recipe: Recipe) -> int:
    """What is left of a text of so many tokens, with one mask or sentinel for each span."""
    noise, spans = _noise(length, recipe)
    return max(1, length - noise + spans)


def _span_targets(length: int, recipe: Recipe) -> int:
    """Tokens of the target of a text that, corrupted, fills `length`: the noise, a sentinel for each span,
    and the end."""
    section = recipe.objective
    left = 1 - section.noise_density * (1 - 1 / section.mean_noise_span_length)
    noise, spans = _noise(max(2, round((length - 1) / left)), recipe)
    return noise + spans + 1
