"""The structures of kernels/cuda/shared_prefix_params.h, field for field."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p

from torch import Tensor

TENSORS = ("query", "prefix_key", "prefix_value", "key", "value")
SIZES = ("batch", "heads", "kv_heads", "queries", "prefix", "own")


class Strides(ctypes.Structure):
    """`SharedPrefixStrides`: of a tensor [B, heads, n, d], or of a prefix [heads, n, d], in elements."""

    _fields_ = [(name, c_longlong) for name in ("batch", "head", "row")]

    @classmethod
    def of(cls, tensor: Tensor) -> Strides:
        """A tensor's own."""
        return cls(*((0, *tensor.stride())[-4:-1]))


class InputParams(ctypes.Structure):
    """`SharedPrefixInputs`."""

    _fields_ = [
        *((name, c_void_p) for name in (*TENSORS, "starts", "ends")),
        *((f"{name}_strides", Strides) for name in TENSORS),
        *((name, c_int) for name in SIZES),
        ("scale", c_float),
    ]


class ForwardParams(ctypes.Structure):
    """`SharedPrefixForwardParams`."""

    _fields_ = [
        ("inputs", InputParams),
        ("output", c_void_p),
        ("output_strides", Strides),
        ("lse", c_void_p),
    ]


class DecodeParams(ctypes.Structure):
    """`SharedPrefixDecodeParams`."""

    _fields_ = [
        *ForwardParams._fields_,
        ("partial_output", c_void_p),
        ("partial_lse", c_void_p),
        ("prefix_splits", c_int),
        ("own_splits", c_int),
    ]


class BackwardParams(ctypes.Structure):
    """`SharedPrefixBackwardParams`."""

    _fields_ = [
        ("inputs", InputParams),
        *((name, c_void_p) for name in ("output", "grad", "lse", "delta", "query_grad", "key_grad")),
        *((name, c_void_p) for name in ("value_grad", "prefix_key_grad", "prefix_value_grad")),
        *((f"partial_prefix_{name}_grad", c_void_p) for name in ("key", "value")),
        *(
            (f"{name}_strides", Strides)
            for name in ("output", "grad", "query_grad", "key_grad", "value_grad")
        ),
        *((f"prefix_{name}_grad_strides", Strides) for name in ("key", "value")),
        ("prefix_splits", c_int),
    ]
