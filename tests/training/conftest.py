"""A run that trains in a second or two, on text made here."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tiny_run import MakeRun, mapping, text_of

from workbench.recipe import validate
from workbench.store.runs import Run, create_run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty short documents."""
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": text_of(n, 60)}) + b"\n" for n in range(60)))
    return path


@pytest.fixture
def make_run(corpus: Path) -> MakeRun:
    """Makes a run of the tiny recipe, not started."""

    def make(**changes: Any) -> Run:
        return create_run(validate(mapping(corpus, **changes), "test"), "tiny")

    return make


@pytest.fixture
def work() -> Iterator[Callable[[Run], int]]:
    """Runs a worker in this process, and puts back what it changes in it."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    from workbench.training.worker import main

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]

    def run_worker(run: Run) -> int:
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        return main(run.path)

    yield run_worker
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
