"""No kernel needs more registers than there are: where NVIDIA's compiler is at hand, for two generations."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.paths import resources

SOURCES = sorted(path.name for path in (resources("kernels") / "cuda").glob("*.cu"))
DEMANDING = {"DTYPE_BF16": (80, 90), "DTYPE_FP32": (80,)}
"""Types and architectures, with the largest heads. fp16 needs as many registers as bf16."""


@pytest.mark.parametrize("dtype", DEMANDING)
@pytest.mark.parametrize("source", SOURCES)
def test_no_register_spills(source: str, dtype: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not here")
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in DEMANDING[dtype]]
    command = [nvcc, "-fatbin", "-std=c++17", "-Xptxas=-v", *targets, "-DHEAD=128", f"-D{dtype}"]
    path = resources("kernels") / "cuda" / source
    done = subprocess.run([*command, path, "-o", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spilled = [
        int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", done.stderr)
    ]
    assert len(spilled) >= 3 * len(targets), done.stderr
    assert not any(spilled), done.stderr
