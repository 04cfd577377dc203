"""What torch finds, asked in a process of its own: importing it here would take seconds and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from workbench.cli import render
from workbench.cli.doctor.findings import note, ok, problem
from workbench.installing import pip_install
from workbench.probe import probe as ask

PROBE_SECONDS = 120

PROBE = """
import json, time
import torch

facts = {"version": torch.__version__, "threads": torch.get_num_threads(), "cuda_build": torch.version.cuda}
facts["cuda"], facts["cuda_error"] = [], ""
try:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            facts["cuda"].append({
                "name": properties.name,
                "memory": properties.total_memory,
                "capability": [properties.major, properties.minor],
                "bf16": properties.major >= 8,
            })
        float(torch.ones(8, device="cuda").sum())
except Exception as error:
    facts["cuda_error"] = str(error).strip().splitlines()[0]
mps = getattr(torch.backends, "mps", None)
facts["mps"] = bool(mps and mps.is_available())

def seconds(dtype):
    a = torch.ones(512, 512, dtype=dtype)
    best = 1e9
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return best

facts["bf16_cpu_speed"] = seconds(torch.float32) / seconds(torch.bfloat16)
print("\\n" + json.dumps(facts))
"""

Row = tuple[str, str, str, str]


def check() -> Iterator[Row]:
    """The devices torch sees and what it can do on them."""
    facts, error = probe()
    if facts is None:
        yield problem("import", error, f"install torch again: {pip_install('--force-reinstall', 'torch')}")
        return
    build = f", built for CUDA {facts['cuda_build']}" if facts["cuda_build"] else ", built for the CPU"
    yield ok("torch", f"{facts['version']}{build}")
    for index, gpu in enumerate(facts["cuda"]):
        major, minor = gpu["capability"]
        half = "bf16" if gpu["bf16"] else "no fast bf16: use fp16"
        text = f"{gpu['name']}, {render.size(gpu['memory'])}, compute capability {major}.{minor}, {half}"
        yield ok(f"cuda:{index}", text)
    if facts["cuda_error"]:
        remedy = "compare nvidia-smi with the CUDA version above; meanwhile: launch.device=cpu"
        yield problem("cuda", facts["cuda_error"], remedy)
    if facts["mps"]:
        yield ok("mps", "Apple GPU")
    if not facts["cuda"] and not facts["mps"]:
        if _has_driver() and not facts["cuda_build"]:
            remedy = "install a CUDA build of torch (pytorch.org shows the command)"
            yield note("device", "CPU only, though there is an NVIDIA driver", remedy)
        else:
            yield ok("device", "CPU only: small models train in minutes, large ones need a GPU")
    speed = facts["bf16_cpu_speed"]
    worth = "worth it" if speed > 1.2 else "not worth it"
    yield ok("bf16 on CPU", f"{speed:.1f} times the speed of fp32 in a matrix product: {worth}")
    yield ok("threads", str(facts["threads"]))


def probe(executable: str = sys.executable) -> tuple[dict[str, Any] | None, str]:
    """Facts from a process that imports torch, or None and why not."""
    return ask(executable, PROBE, PROBE_SECONDS)


def _has_driver() -> bool:
    import pynvml

    try:
        pynvml.nvmlInit()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return False
    return True
