"""No kernel needs more registers than there are: where NVIDIA's compiler is at hand, for two generations."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.paths import resources

FOLDER = resources("kernels") / "cuda"
VARIANTS = (
    (128, "DTYPE_BF16", (80, 90)),
    (64, "DTYPE_FP32", (90,)),
    (96, "DTYPE_FP32", (80,)),
    (128, "DTYPE_FP32", (80,)),
)
"""Size of heads, type, architectures: the largest heads, and of fp32, where the compiler trades registers for
occupancy, each. fp16 needs as many registers as bf16."""
CASES = [
    (path.name, *variant)
    for path in sorted(FOLDER.glob("*.cu"))
    for variant in VARIANTS
    if variant[0] == 128 or path.name.startswith("shared_prefix")  # others do not depend on the heads
]
MORE = {"selected_logprobs": "SOFTCAP", "soft_prompt_embedding": "PROMPT_FP32"}
"""What else is compiled in."""


@pytest.mark.parametrize(("source", "head", "dtype", "architectures"), CASES)
def test_no_register_spills(
    source: str, head: int, dtype: str, architectures: tuple[int, ...], tmp_path: Path
) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not here")
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    command = [nvcc, "-fatbin", "-std=c++17", "-Xptxas=-v", *targets, f"-DHEAD={head}", f"-D{dtype}"]
    command += [f"-D{name}" for kernel, name in MORE.items() if source.startswith(kernel)]
    done = subprocess.run([*command, FOLDER / source, "-o", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spilled = [
        int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", done.stderr)
    ]
    assert len(spilled) >= 3 * len(targets), done.stderr
    assert not any(spilled), done.stderr
