"""How the vectors of a cache are kept: as they are, or as small whole numbers with a scale.

`encode` gives the parts that are kept of vectors [..., d], `decode` the vectors again. int8 has one scale a
vector, symmetric: an error of at most half a step, 1/254 of the largest number. int4 has a least number and a
step for every `GROUP` numbers: an error of at most half a step, 1/30 of what lies between least and largest
(as in KIVI, Liu et al. 2024, but along the vector for keys too, so that a token needs no other).
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

KvDtype = Literal["auto", "int8", "int4"]
GROUP = 32
SCALE = torch.float16
LARGEST = 65_504.0
"""Of fp16."""
TINY = 2.0**-24
"""The least number of fp16 above 0: a scale of less would be 0."""


class Codec(Protocol):
    """One way to keep vectors of `size` numbers."""

    name: str

    def widths(self, size: int) -> list[tuple[int, torch.dtype]]:
        """Numbers of each part of a vector, and their type."""
        ...

    def encode(self, x: Tensor) -> list[Tensor]:
        """The parts [..., width] of vectors [..., d]."""
        ...

    def decode(self, parts: list[Tensor]) -> Tensor:
        """The vectors [..., d] of their parts."""
        ...


class Plain:
    """As they are."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.name = str(dtype).removeprefix("torch.")

    def widths(self, size: int) -> list[tuple[int, torch.dtype]]:
        return [(size, self.dtype)]

    def encode(self, x: Tensor) -> list[Tensor]:
        return [x.to(self.dtype)]

    def decode(self, parts: list[Tensor]) -> Tensor:
        return parts[0]


class Int8:
    """Whole numbers from −127 to 127, and a scale."""

    name = "int8"

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def widths(self, size: int) -> list[tuple[int, torch.dtype]]:
        return [(size, torch.int8), (1, SCALE)]

    def encode(self, x: Tensor) -> list[Tensor]:
        x = x.float()
        # Rounded up, so that the largest number is not cut off where the scale is rounded.
        scale = _up((x.abs().amax(-1, keepdim=True) / 127).clamp(TINY, LARGEST))
        codes = (x / scale.float()).round().clamp(-127, 127)
        return [codes.to(torch.int8), scale]

    def decode(self, parts: list[Tensor]) -> Tensor:
        codes, scale = parts
        # Rounded once, not the scale first: in bf16 that alone would be two half steps.
        return (codes * scale.float()).to(self.dtype)


class Int4:
    """Whole numbers from 0 to 15, two in a byte, and for each group a step and the least number."""

    name = "int4"

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def widths(self, size: int) -> list[tuple[int, torch.dtype]]:
        groups = size // _group(size)
        return [(size // 2, torch.uint8), (groups, SCALE), (groups, SCALE)]

    def encode(self, x: Tensor) -> list[Tensor]:
        groups = x.float().unflatten(-1, (-1, _group(x.shape[-1])))
        least = groups.amin(-1, keepdim=True).clamp(-LARGEST, LARGEST).to(SCALE)
        step = _up(((groups.amax(-1, keepdim=True) - least.float()) / 15).clamp(TINY, LARGEST))
        codes = ((groups - least.float()) / step.float()).round().clamp(0, 15).to(torch.uint8).flatten(-2)
        low, high = codes[..., ::2], codes[..., 1::2]
        return [low | (high << 4), step[..., 0], least[..., 0]]

    def decode(self, parts: list[Tensor]) -> Tensor:
        packed, step, least = parts
        codes = torch.stack((packed & 15, packed >> 4), -1).flatten(-2)
        groups = codes.unflatten(-1, (step.shape[-1], -1)) * step[..., None].float()
        found: Tensor = (groups + least[..., None].float()).flatten(-2).to(self.dtype)
        return found


def _group(size: int) -> int:
    return GROUP if size % GROUP == 0 else size


def _up(x: Tensor) -> Tensor:
    """The next number of fp16 that is not below."""
    near = x.to(SCALE)
    # Of positive numbers, the one after has the bits of the next whole number.
    return torch.where(near.float() < x, (near.view(torch.int16) + 1).view(SCALE), near)


def codec_of(kind: KvDtype, dtype: torch.dtype) -> Codec:
    """What keeps vectors of a model computed in `dtype`."""
    if kind == "auto":
        return Plain(dtype)
    return Int8(dtype) if kind == "int8" else Int4(dtype)
