"""Sums in several steps as text: for training, and others kept apart for the evaluation of emergence.

A sum of k steps adds k + 1 numbers, with the intermediate results written: `3+4+5=7+5=12`. No sum that is
kept apart stands in the training text: not as a sum of its own, in no order of its numbers, not as the
beginning of a longer one, and not as an intermediate step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from workbench.errors import UsageError
from workbench.scaling.spec import ArithmeticSection
from workbench.store.files import replace_file

TRAIN, HELD_OUT = "sums-train.jsonl", "sums-held-out.jsonl"
SHOTS = 4
"""Solved sums before the one that is asked, so that what is wanted is clear."""
Numbers = tuple[int, ...]
Key = tuple[int, ...]


@dataclass(frozen=True)
class Sum:
    """One sum: `question` ends behind its first equals sign, `answer` is the rest of its line."""

    numbers: Numbers
    intermediate: bool

    @property
    def steps(self) -> int:
        """Additions."""
        return len(self.numbers) - 1

    @property
    def question(self) -> str:
        """As in `3+4+5=`."""
        return "+".join(map(str, self.numbers)) + "="

    @property
    def answer(self) -> str:
        """As in `7+5=12`; the last number is the result."""
        if not self.intermediate:
            return str(sum(self.numbers))
        rest = list(self.numbers)
        parts = []
        while len(rest) > 1:
            rest = [rest[0] + rest[1], *rest[2:]]
            parts.append("+".join(map(str, rest)))
        return "=".join(parts)

    @property
    def line(self) -> str:
        """The whole."""
        return self.question + self.answer


def parts_of(numbers: Sequence[int]) -> Iterator[Key]:
    """Every sum that stands in one: its beginnings, and each addition on the way, without regard to order."""
    so_far = numbers[0]
    for place in range(1, len(numbers)):
        yield tuple(sorted(numbers[: place + 1]))
        yield tuple(sorted((so_far, numbers[place])))
        so_far += numbers[place]


def draw_held_out(section: ArithmeticSection) -> list[Sum]:
    """The sums that are kept apart, `held_out` of each number of steps. Raises `UsageError` where there are
    too few different ones."""
    found: list[Sum] = []
    for steps in sorted(set(section.steps)):
        if steps < 1:
            raise UsageError(f"a sum of {steps} steps is none", where="arithmetic.steps", hint="1 or more")
        there = math.comb(section.largest + steps, steps + 1)
        if there < 3 * section.held_out:
            raise UsageError(
                f"there are {there:,} sums of {steps} step{'s' * (steps > 1)} of numbers up to "
                f"{section.largest}, too few to keep {section.held_out:,} apart",
                where="arithmetic",
                hint=f"arithmetic.largest={section.largest * 2}, or arithmetic.held_out={there // 4}",
            )
        rng = random.Random(f"{section.seed} held out {steps}")
        keys: dict[Key, Sum] = {}
        while len(keys) < section.held_out:
            numbers = _draw(rng, steps, section.largest)
            keys.setdefault(tuple(sorted(numbers)), Sum(numbers, section.intermediate))
        found += keys.values()
    return found


def draw_training(section: ArithmeticSection, held_out: Sequence[Sum]) -> Iterator[Sum]:
    """Sums without end, none of which holds one that is kept apart."""
    apart = {tuple(sorted(one.numbers)) for one in held_out}
    rng = random.Random(f"{section.seed} training")
    steps = sorted(set(section.steps))
    while True:
        numbers = _draw(rng, rng.choice(steps), section.largest)
        if apart.isdisjoint(parts_of(numbers)):
            yield Sum(numbers, section.intermediate)


def _draw(rng: random.Random, steps: int, largest: int) -> Numbers:
    return tuple(rng.randint(1, largest) for _ in range(steps + 1))


def write_sums(section: ArithmeticSection, folder: Path) -> None:
    """Write the training text, and the sums kept apart with their prompts, into a study's folder.

    Raises `UsageError` and `StorageError`.
    """
    held_out = draw_held_out(section)
    training = draw_training(section, held_out)
    documents = []
    for _ in range(section.documents):
        lines = [next(training).line for _ in range(section.per_document)]
        documents.append(orjson.dumps({"text": "\n".join(lines) + "\n"}))
    replace_file(folder / TRAIN, b"\n".join(documents) + b"\n")
    asked = []
    for one in held_out:
        shots = [next(line for line in training if line.steps == one.steps).line for _ in range(SHOTS)]
        prompt = "".join(f"{line}\n" for line in shots) + one.question
        asked.append(orjson.dumps({"steps": one.steps, "prompt": prompt, "answer": one.answer}))
    replace_file(folder / HELD_OUT, b"\n".join(asked) + b"\n")


def read_held_out(folder: Path) -> list[dict[str, object]]:
    """The sums kept apart: `steps`, `prompt`, `answer` of each. Raises `UsageError` where there are none."""
    try:
        lines = (folder / HELD_OUT).read_bytes().splitlines()
    except FileNotFoundError:
        raise UsageError(
            "the study has no sums among its text",
            where=str(folder),
            hint="plan one with an arithmetic section: workbench scale plan NAME arithmetic.documents=6000",
        ) from None
    return [orjson.loads(line) for line in lines]
