"""One home for all tests of compiled code: a compilation takes some seconds and is the same for all."""

from __future__ import annotations

from pathlib import Path

import pytest


def compiled_home(factory: pytest.TempPathFactory) -> Path:
    """The home of this run, shared by its processes."""
    base = factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "compiled"
