"""What an annotator sees where and when: decided by the session's seed, so that it can be told again."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from workbench.store.preferences.contents import Answer, Prompt, encoded, prompt_digest

REPEATED_SHARE = 0.05
"""The share of items that come again, with their sides swapped, to see whether one agrees with oneself."""
NEAREST_REPEAT, FARTHEST_REPEAT = 8, 24
"""How many other decisions lie between an item and its repetition, so that it is not recognised."""
NEAREST_AT_END = 3
"""The same when nothing else is left to be ranked."""


def shown_order(answers: Mapping[int, Answer], prompt: Prompt, seed: int, annotator: str) -> tuple[int, ...]:
    """The numbers of the answers to a prompt as one annotator sees them, left to right, blind to where they
    come from.

    It follows from the seed, the annotator, the prompt, and of each answer the model, the sampling
    parameters and the how manieth it is: not from the numbers, which say in what order they came in.
    """
    origins = {encoded([one.model, one.sampling, one.sample]): number for number, one in answers.items()}
    keys = sorted(origins)
    order = [origins[key] for key in keys]
    _random("sides", seed, annotator, prompt_digest(prompt), *keys).shuffle(order)
    return tuple(order)


def is_repeated(position: int, seed: int, annotator: str, share: float = REPEATED_SHARE) -> bool:
    """Whether the item at a position of the session comes again for this annotator.

    Exactly one in every 1 / `share` positions does, each as likely as the others.
    """
    if share <= 0:
        return False
    block = max(1, round(1 / share))
    chosen = _random("repeated", seed, annotator, position // block).randrange(block)
    return position % block == chosen


def repeat_distance(position: int, seed: int, annotator: str) -> int:
    """How many decisions after the first the item at this position comes again."""
    return _random("distance", seed, annotator, position).randint(NEAREST_REPEAT, FARTHEST_REPEAT)


def _random(*key: object) -> Random:
    # Of a text, for the hash of a tuple is another in every process.
    return Random("\x1f".join(map(str, key)))
