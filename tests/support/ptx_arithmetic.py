"""What PTX's arithmetic instructions compute, on arrays of one element a lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

TYPES: dict[str, Any] = {
    "pred": np.bool_,
    "f32": np.float32,
    "f16": np.float16,
    **{
        f"{kind}{bits}": np.dtype(f"{'i' if kind == 's' else 'u'}{bits // 8}")
        for kind in "bsu"
        for bits in (8, 16, 32, 64)
    },
}
TINY = np.float32(2.0**-126)


def flushed(x: Array) -> Array:
    """Denormal numbers as zero, as `.ftz` has it."""
    return np.where(np.abs(x) < TINY, np.copysign(np.float32(0), x), x)


def to_bfloat16(x: Array) -> Array:
    """To the nearest, ties to even, as 16 bits."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded)


def to_float16(x: Array) -> Array:
    """To the nearest, ties to even, as 16 bits."""
    return x.astype(np.float16).view(np.uint16)


def divided(x: Array, y: Array) -> Array:
    """Towards zero for integers."""
    if x.dtype.kind == "f":
        return x / y
    wide, other = (x.astype(np.int64), y.astype(np.int64)) if x.dtype.kind == "i" else (x, y)
    safe = np.where(other == 0, 1, other).astype(wide.dtype)
    quotient = wide // safe
    if x.dtype.kind == "i":
        quotient = np.where(
            (wide - quotient * safe != 0) & ((wide < 0) != (safe < 0)), quotient + 1, quotient
        )
    found: Array = quotient.astype(x.dtype)
    return found


def high(x: Array, y: Array) -> Array:
    """The upper half of the product."""
    bits = x.dtype.itemsize * 8
    if bits == 32:
        wide = np.int64 if x.dtype.kind == "i" else np.uint64
        return ((x.astype(wide) * y.astype(wide)) >> 32).astype(x.dtype)
    return np.array([(int(a) * int(b)) >> bits for a, b in zip(x, y, strict=True)]).astype(x.dtype)


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "min": lambda x, y: np.fmin(x, y) if x.dtype.kind == "f" else np.minimum(x, y),
    "max": lambda x, y: np.fmax(x, y) if x.dtype.kind == "f" else np.maximum(x, y),
    "div": divided,
    "rem": lambda x, y: (x - divided(x, y) * y).astype(x.dtype),
}
UNARY: dict[str, Callable[[Array], Array]] = {
    "not": lambda x: ~x,
    "neg": lambda x: np.negative(x),
    "abs": lambda x: np.abs(x),
    "ex2": lambda x: flushed(np.exp2(flushed(x))),
    "lg2": lambda x: np.log2(flushed(x)),
    "rcp": lambda x: np.float32(1) / x,
    "sqrt": lambda x: np.sqrt(x),
    "tanh": lambda x: np.tanh(x),
}
COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: (x != y) & ~(np.isnan(x) | np.isnan(y)) if x.dtype.kind == "f" else x != y,
    "lo": lambda x, y: x < y,
    "hi": lambda x, y: x > y,
}


def compare(name: str, x: Array, y: Array) -> Array:
    """`ltu` and the like are true for what cannot be compared too."""
    if name in ("num", "nan"):
        unordered = np.isnan(x) | np.isnan(y)
        return unordered if name == "nan" else ~unordered
    found = COMPARE[name[:2]](x, y)
    return found | np.isnan(x) | np.isnan(y) if name.endswith("u") and len(name) == 3 else found


def shifted(name: str, x: Array, by: Array) -> Array:
    """Shifts by the width or more give 0, or the sign."""
    bits = x.dtype.itemsize * 8
    within = np.minimum(by, bits - 1).astype(x.dtype)
    found = x << within if name == "shl" else x >> within
    keeps = name == "shr" and x.dtype.kind == "i"
    return found if keeps else np.where(by >= bits, 0, found).astype(x.dtype)


def product(a: Array, b: Array, c: Array) -> Array:
    """D [W, 16, 8] = A [W, 16, 16] B [W, 16, 8] + C, summed in fp64: the hardware's order is not known."""
    return (a.astype(np.float64) @ b.astype(np.float64) + c).astype(np.float32)
