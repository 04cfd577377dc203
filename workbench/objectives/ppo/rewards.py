"""Rewards that need no model: by regular expression or by a person's own Python function; sums of several.

A reward is called with B prompts and B completions as text, and answers with B numbers; NaN is a completion
that it cannot score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.errors import RecipeError, TrainingError
from workbench.objectives.ppo.user_code import accepted, load_function
from workbench.objectives.reductions import wide

Columns = Mapping[str, Sequence[Any]]


class Reward(Protocol):
    """What scores completions; `columns` are the records' other columns, B values each."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns | None = None
    ) -> list[float]:
        """One number for each completion."""
        ...


@dataclass(frozen=True)
class RegexReward:
    """1 for a completion in which the pattern is found, else 0. The syntax is that of Python's `re`; flags go
    into the pattern, as in `(?is)`."""

    pattern: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            place = "" if error.pos is None else f" at character {error.pos + 1}"
            raise RecipeError(
                f"the reward's regular expression cannot be read: {error.msg}{place}",
                where=self.pattern,
                hint=r"Python's syntax; a literal ( . ? and the like are written \( \. \?",
            ) from error
        object.__setattr__(self, "_compiled", compiled)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns | None = None
    ) -> list[float]:
        """See `Reward`."""
        return [float(self._compiled.search(completion) is not None) for completion in completions]


class FunctionReward:
    """A reward by a Python function, named `package.module:function`, from a given folder.

    It is called as TRL calls reward functions, `function(prompts=…, completions=…, <columns>=…)`, with lists
    of B, of the columns those that it takes; it returns B numbers, None for a completion it cannot score.
    This runs the code in that folder: it is for one's own.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.function: Callable[..., Any] = load_function(name, folder)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Columns | None = None
    ) -> list[float]:
        """See `Reward`."""
        given = {name: list(values) for name, values in (columns or {}).items()}
        given |= {"prompts": list(prompts), "completions": list(completions)}
        try:
            answer = self.function(**accepted(self.function, given))
        except Exception as error:
            raise TrainingError(
                f"the reward function failed: {type(error).__name__}: {error}", where=self.name
            ) from error
        return self._checked(answer, len(completions))

    def _checked(self, answer: Any, count: int) -> list[float]:
        answer = answer.tolist() if hasattr(answer, "tolist") else answer
        if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Sequence):
            raise TrainingError(
                f"the reward function returned {type(answer).__name__}",
                where=self.name,
                hint="a list with one number for each completion",
            )
        if len(answer) != count:
            raise TrainingError(
                f"the reward function returned {len(answer)} numbers for {count} completions",
                where=self.name,
                hint="one number for each completion, None where there is none",
            )
        return [self._number(value, row) for row, value in enumerate(answer)]

    def _number(self, value: Any, row: int) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise TrainingError(
                f"the reward function returned {value!r} for completion {row + 1}",
                where=self.name,
                hint="a number, or None for a completion that it cannot score",
            ) from error
        if math.isinf(number):
            raise TrainingError(
                f"the reward function returned {number} for completion {row + 1}",
                where=self.name,
                hint="a finite number: one infinite reward spoils every advantage of its batch",
            )
        return number


def sum_of_rewards(parts: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> Tensor:
    """The weighted sum of named rewards [B] each, a reward model's scores among them; result [B], fp32.

    A part that is NaN is left out; where all are, so is the sum. A part without a weight counts once.
    """
    if not parts:
        raise RecipeError("no reward to train on", hint="a reward model, a function or a regular expression")
    unknown = set(weights or {}) - set(parts)
    if unknown:
        raise RecipeError(
            f"a weight for {', '.join(sorted(unknown))}, which is no reward here",
            hint=f"one of {', '.join(parts)}",
        )
    stacked = torch.stack([wide(values) for values in parts.values()])
    factors = torch.tensor([(weights or {}).get(name, 1.0) for name in parts], dtype=stacked.dtype)
    scored = ~stacked.isnan()
    total = (
        (stacked.nan_to_num(0.0) * factors.to(stacked.device).unsqueeze(1)).masked_fill(~scored, 0.0).sum(0)
    )
    return total.masked_fill(~scored.any(0), math.nan)


def eos_penalty(scores: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """Scores [B] less a penalty where a response never came to its end (`ended` [B] false).

    Source: Huang et al. 2024, detail on truncation; TRL's `missing_eos_penalty`.
    """
    if not 0 <= penalty < math.inf:
        raise RecipeError(
            f"the penalty for a missing end is {penalty}", where="missing_eos_penalty", hint="0 or more"
        )
    return wide(scores) - penalty * (~ended.bool()).to(wide(scores).dtype)
