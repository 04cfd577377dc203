"""Throughput, model FLOPs utilisation and memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import torch

from workbench.ops.decoder_training.products import times

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GIB = 1024**3

# Peak dense FLOP/s in bf16/fp16 with fp32 accumulation, from the makers' data sheets.
PEAK_FLOPS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "L40S": 362e12,
    "A100": 312e12,
    "A10": 125e12,
    "L4": 121e12,
    "T4": 65e12,
    "V100": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    """Training FLOPs a token: 6 a weight outside the input embedding, and 12·layers·width·length for
    attention (Chowdhery et al. 2022, PaLM, appendix B)."""
    weights = int(sum(parameter.numel() for parameter in model.parameters()))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if embedding is not None and (head is None or head.weight is not embedding.weight):
        weights -= int(embedding.weight.numel())
    config = model.config.get_text_config()
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    return 6.0 * weights + 12.0 * layers * width * length


def peak_flops(device: torch.device, half_precision: bool) -> float:
    """Peak FLOP/s of a device: the data sheet's for a known GPU in half precision, else measured."""
    if device.type == "cuda" and half_precision:
        name = torch.cuda.get_device_name(device)
        for known, value in PEAK_FLOPS.items():
            if known in name:
                return value
    return _measured_flops(device, torch.bfloat16 if half_precision else torch.float32)


def _measured_flops(device: torch.device, dtype: torch.dtype, size: int = 1024, rounds: int = 20) -> float:
    # On a CPU by the library that training takes, which may be twice as fast as the one behind `@`.
    product_of = times if device.type == "cpu" else torch.matmul
    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        product = product_of(a, a)
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def memory(device: torch.device) -> dict[str, float]:
    """Resident memory of this process, and the most the GPU's allocator has held, in GiB."""
    values = {"memory/cpu_gib": psutil.Process().memory_info().rss / GIB}
    if device.type == "cuda":
        values["memory/gpu_gib"] = torch.cuda.max_memory_allocated(device) / GIB
    return values
