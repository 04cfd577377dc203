"""A tiny corpus, recipes on it, and an inspector that is closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import mapping, text_of

from workbench.store.inspector import Inspector

MakeRecipe = Callable[..., dict[str, Any]]


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody hears."""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty short documents."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02}.txt").write_text(text_of(number, 40 + number))
    return folder


@pytest.fixture
def recipe(corpus: Path) -> MakeRecipe:
    """`recipe(objective__name="mlm", model__family="bert")`: a tiny recipe on the corpus, as a mapping."""

    def make(**changes: Any) -> dict[str, Any]:
        return mapping(corpus, **changes)

    return make


@pytest.fixture
def inspector(home: Path) -> Iterator[Inspector]:
    """A client with a child of its own."""
    with Inspector() as client:
        yield client
