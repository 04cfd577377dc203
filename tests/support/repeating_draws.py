"""Draws of an engine in this process that repeat from run to run."""

from __future__ import annotations

import itertools
import random
import types

import pytest

from workbench.inference.engine import sampling


@pytest.fixture
def unseeded_draws_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without a seed draw the same from run to run: else now and then one would begin with the end
    of the text, where a test needs an answer that goes on."""
    numbers = itertools.count()

    def seeded(seed: object = None) -> random.Random:
        return random.Random(f"test {next(numbers)}" if seed is None else str(seed))

    monkeypatch.setattr(sampling, "random", types.SimpleNamespace(Random=seeded))
