"""One home for all tests of compiled code."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiled_home import compiled_home


@pytest.fixture(autouse=True)
def compiled(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of this run, shared by its processes."""
    shared = compiled_home(tmp_path_factory)
    monkeypatch.setenv("WORKBENCH_HOME", str(shared))
    return shared
