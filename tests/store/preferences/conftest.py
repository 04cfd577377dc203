"""The preferences of a test's home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.store.preferences.database import Database


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database() as opened:
        yield opened
