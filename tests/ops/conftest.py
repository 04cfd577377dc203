"""One home for all tests of compiled code: a compilation takes some seconds and is the same for all."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def compiled(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of this run, shared by its processes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "compiled"
    monkeypatch.setenv("WORKBENCH_HOME", str(shared))
    return shared
