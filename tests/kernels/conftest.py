"""What the tests of the CUDA kernels share: programs that run them on the CPU, each built once a session."""

from __future__ import annotations

import pytest
from kernel_emulator import Builder


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds into a folder that all test processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "kernels"
    folder.mkdir(exist_ok=True)
    return Builder(folder)
