"""What is measured, from what was asked: lengths and factors where none are named, and what cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import ModelError, UsageError
from workbench.models.context import context_of_config
from workbench.prediction.long_context.passkeys import MOST_DIGITS, StyleName
from workbench.prediction.long_context.variants import config_of
from workbench.rope_extension import extension_problem
from workbench.training.starting_model import MAX_DEFAULT_LENGTH

USUAL_FACTOR = 4.0
"""Where neither a factor nor lengths are named."""
SHARES = (0.25, 0.5, 1.0)
"""Lengths where none are named, as shares of the context; behind them its doubles, as far as it is
stretched."""
LONGEST = 8192
"""Lengths that nobody named end here."""
SHORTEST = 16


@dataclass(frozen=True)
class Plan:
    """What is measured of each variant of a model; `methods` are arguments of `RopeExtension`, or nothing."""

    context: int
    trained: int
    methods: list[dict[str, Any]]
    lengths: list[int]
    are_named: bool
    """Whether the lengths are those that were asked for."""
    depths: list[float]
    trials: int
    digits: int
    style: StyleName
    windows: int
    buckets: int
    stride: int | None
    seed: int
    batch_tokens: int
    has_positions: bool
    has_passkeys: bool

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def about_passkeys(self) -> dict[str, Any]:
        """What a result says of its pass keys."""
        return {"style": self.style, "digits": self.digits, "trials": self.trials, "depths": self.depths}


def plan_of(request: Mapping[str, Any]) -> Plan:
    """Raises `UsageError` for what goes not together, `ModelError` for a model without an end."""
    name = request["model"]
    context = context_of_config(config_of(name))
    if context is None:
        raise ModelError(
            "its positions have no end, so there is nothing beyond it",
            where=name,
            hint="this measures decoders with a context: Llama, Mistral, Qwen, GPT-2 …",
        )
    trained = min(context, _rows_of(request["recipe"]) or context)
    lengths = sorted(set(request["lengths"] or ()))
    are_named = bool(lengths)
    methods = [_whole(method, lengths, trained, context) for method in request["methods"]]
    if not lengths:
        most = max(float(method.get("factor", 1.0)) for method in methods)
        lengths = _usual(trained, most)
    if lengths[0] < SHORTEST:
        raise UsageError(
            f"a length of {lengths[0]} tokens is too short to say anything",
            where="--lengths",
            hint="from 16 on",
        )
    stride = request["stride"]
    if stride is not None and stride >= lengths[0]:
        raise UsageError(
            f"--stride {stride} must be less than the shortest length, {lengths[0]}",
            hint=f"--stride {max(1, lengths[0] // 2)}",
        )
    digits = request["digits"]
    if not 1 <= digits <= MOST_DIGITS:
        raise UsageError(f"--digits {digits} is not between 1 and {MOST_DIGITS}")
    return Plan(
        context,
        trained,
        methods,
        lengths,
        are_named,
        _depths(request["depths"]),
        request["trials"],
        digits,
        request["style"],
        request["windows"],
        request["buckets"],
        stride,
        request["seed"],
        request["batch_tokens"],
        request["positions"],
        request["passkeys"],
    )


def _rows_of(recipe: Mapping[str, Any] | None) -> int | None:
    """How long the rows were, at most, that a run of a new model learnt from; None where it began with
    another, or with a context that was stretched."""
    if recipe is None or recipe["model"]["model_name_or_path"]:
        return None
    found: int | None = recipe["data"]["max_length"]
    return found or (None if recipe["model"]["rope_scaling"] else MAX_DEFAULT_LENGTH)


def _whole(method: Mapping[str, Any], lengths: Sequence[int], trained: int, context: int) -> dict[str, Any]:
    """A method with its factor, or with the one that the longest length needs, and with the trained length
    where that is not the context."""
    if not method:
        return {}
    factor, original = method.get("factor"), method.get("original") or trained
    if factor is None:
        factor = max(1.0, math.ceil(100 * max(lengths) / original) / 100) if lengths else USUAL_FACTOR
    if problem := extension_problem(method["method"], factor, {}):
        raise UsageError(problem.replace("rope_factor", "--rope-factor"), where="--rope-factor")
    return {**method, "factor": float(factor), "original": None if original == context else original}


def _usual(context: int, factor: float) -> list[int]:
    found = [int(context * share) for share in SHARES]
    while found[-1] * 2 <= context * factor:
        found.append(found[-1] * 2)
    if found[-1] < int(context * factor):
        found.append(int(context * factor))
    fitting = [length for length in found if SHORTEST <= length <= LONGEST]
    return fitting or [min(LONGEST, max(SHORTEST, context))]


def _depths(count: int) -> list[float]:
    return [0.5] if count == 1 else [round(number / (count - 1), 4) for number in range(count)]
