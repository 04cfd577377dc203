"""The memory that interpreted kernels see: tensors at their own addresses, and shared memory full of NaN."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


class Fault(AssertionError):
    """What a kernel did that no kernel may."""


class GlobalMemory:
    """Copies of tensors (each with all that lies between its first and last element), found by address."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        spans: dict[int, int] = {}
        for tensor in tensors:
            last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
            spans[tensor.data_ptr()] = (last + 1) * tensor.element_size()
        places = sorted(spans.items())
        self.starts = np.array([start for start, _ in places], dtype=np.int64)
        self.ends = np.array([start + size for start, size in places], dtype=np.int64)
        self.bytes = np.frombuffer(
            b"".join(ctypes.string_at(start, size) for start, size in places), dtype=np.uint8
        ).copy()
        sizes = self.ends - self.starts
        self.places = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def indices(self, addresses: Array, size: int, text: str) -> Array:
        """Where `size` bytes at each address are kept; `Fault` outside of all tensors, or unaligned."""
        which = np.searchsorted(self.starts, addresses, "right") - 1
        outside = (which < 0) | (addresses + size > self.ends[which])
        if outside.any():
            raise Fault(f"global access of {size} bytes outside of all tensors: {text}")
        if (addresses % size).any():
            raise Fault(f"global access at no multiple of {size} bytes: {text}")
        found: Array = addresses - self.starts[which] + self.places[which]
        return found

    def write_back(self) -> None:
        """Into the tensors."""
        for start, end, place in zip(self.starts, self.ends, self.places, strict=True):
            part = self.bytes[place : place + end - start].tobytes()
            ctypes.memmove(int(start), part, len(part))


class SharedMemory:
    """One piece a block; never written bytes are 0xff, so that floats there are NaN."""

    def __init__(self, blocks: int, size: int) -> None:
        self.size = size
        self.bytes = np.full(blocks * size, 0xFF, np.uint8)

    def indices(self, blocks: Array, offsets: Array, size: int, text: str) -> Array:
        """Where `size` bytes at each offset of a block's piece are kept."""
        if ((offsets < 0) | (offsets + size > self.size)).any():
            raise Fault(f"shared access of {size} bytes outside of {self.size}: {text}")
        if (offsets % size).any():
            raise Fault(f"shared access at no multiple of {size} bytes: {text}")
        found: Array = blocks * self.size + offsets
        return found


def read(memory: Array, at: Array, dtype: Any, count: int) -> list[Array]:
    """`count` neighbours at each place, one array for each."""
    size = np.dtype(dtype).itemsize
    whole = memory[at[:, None] + np.arange(size * count)].view(dtype)
    return [np.ascontiguousarray(whole[:, i]) for i in range(count)]


def write(memory: Array, at: Array, values: list[Array]) -> None:
    """Neighbours at each place; of lanes that write the same, the last one wins."""
    whole = np.ascontiguousarray(np.stack(values, 1)).view(np.uint8)
    memory[at[:, None] + np.arange(whole.shape[1])] = whole
