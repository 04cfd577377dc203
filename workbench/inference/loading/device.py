"""On what a model runs, and in which precision."""

from __future__ import annotations

from pathlib import Path

import torch

from workbench.errors import ModelError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}
SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""What Linux calls products of bf16: of Intel and AMD, and of ARM."""
CPU_INFO = Path("/proc/cpuinfo")


def device_of(name: str) -> torch.device:
    """The device asked for; `auto` takes what there is: CUDA, MPS, CPU. Raises `ModelError`."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or not there.get(device.type):
        raise ModelError(
            f"the device is to be {name}, but torch sees no such device here",
            hint="workbench doctor shows what this machine has; auto takes what there is",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"there is no {name}: torch sees {torch.cuda.device_count()} GPUs")
    return device


def dtype_of(name: str, device: torch.device, *, encoder: bool = False) -> tuple[torch.dtype, str]:
    """The precision asked for, and why. `auto` takes bf16 where the device multiplies it natively, else
    fp32, and for encoders fp32: they are small, and their vectors are compared. Raises `ModelError`."""
    if name != "auto":
        if name not in DTYPES:
            raise ModelError(f"there is no precision {name}", hint=f"use auto, {', '.join(DTYPES)}")
        return DTYPES[name], f"{SHORT[DTYPES[name]]}: as asked"
    if encoder:
        return torch.float32, "fp32: encoders are small, and their vectors are compared"
    why = _native_bf16(device)
    if why:
        return torch.bfloat16, f"bf16: {why}"
    return torch.float32, f"fp32: the {device.type.upper()} has no native bf16"


def _native_bf16(device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"the GPU has it natively (compute capability {major}.{minor})" if major >= 8 else ""
    if device.type != "cpu":
        return ""
    try:
        words = set(CPU_INFO.read_text().split())
    except OSError:
        return ""
    found = next((flag for flag in CPU_BF16 if flag in words), "")
    return f"the CPU multiplies it natively ({found})" if found else ""
