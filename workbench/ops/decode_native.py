"""The native decode step, `kernels/decode.cpp`, behind ctypes: one call a step."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import c_double, c_int, c_int64, c_void_p

import numpy as np
import torch
from torch import Tensor

from workbench.ops.decoder import DecoderWeights, Row
from workbench.ops.native import NativeCodeError, load_library

LAYER_FIELDS = ("input_norm", "post_norm", "q_norm", "k_norm", "qkv_bias", "output_bias")
LAYER_MATRICES = ("qkv", "output", "gate_up", "down")


class _Layer(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in LAYER_FIELDS + LAYER_MATRICES]


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int64) for name in ("intermediate", "vocabulary", "is_bf16")),
        *((name, c_double) for name in ("eps", "scaling")),
        *((name, c_void_p) for name in ("embedding", "head", "norm", "cos", "sin")),
    ]



class NativeDecoder:
    """A decoder over weights whose tensors it keeps alive. Steps may come from different threads, one
    after another."""

    def __init__(self, weights: DecoderWeights, library: ctypes.CDLL) -> None:
        self.instructions = _declare(library)
        self._library = library
        self._vocabulary, self._positions = weights.head.shape[0], weights.cos.shape[0]
        self._layout = (len(weights.layers), weights.kv_heads, weights.head_dim, weights.dtype)
        self._alive: list[Tensor] = []
        layers = (_Layer * len(weights.layers))()
        for native, layer in zip(layers, weights.layers, strict=True):
            for name in LAYER_FIELDS:
                setattr(native, name, self._address(getattr(layer, name), torch.float32))
            for name in LAYER_MATRICES:
                setattr(native, name, self._address(getattr(layer, name), weights.dtype))
        shape = _Shape(
            len(weights.layers),
            weights.embedding.shape[1],
            weights.heads,
            weights.kv_heads,
            weights.head_dim,
            weights.layers[0].down.shape[1],
            self._vocabulary,
            weights.dtype == torch.bfloat16,
            weights.eps,
            weights.scaling,
            *(self._address(tensor, weights.dtype) for tensor in (weights.embedding, weights.head)),
            *(self._address(tensor, torch.float32) for tensor in (weights.norm, weights.cos, weights.sin)),
        )
        self._handle = c_void_p(library.workbench_decoder_new(ctypes.byref(shape), layers))
        if not self._handle:
            raise MemoryError("no memory for the decoder")
        weakref.finalize(self, library.workbench_decoder_free, self._handle)

    def _address(self, tensor: Tensor | None, kind: torch.dtype) -> int | None:
        if tensor is None:
            return None
        # The same tensor where it has the right type already: only norms and biases are ever copied.
        tensor = tensor.detach().to(kind).contiguous()
        self._alive.append(tensor)
        return tensor.data_ptr()

    def step(
        self, tokens: Tensor, rows: Sequence[Row], *, out: Tensor | None = None, threads: int | None = None
    ) -> Tensor:
        """See `decode_step`."""
        batch = len(rows)
        if tokens.shape != (batch,) or tokens.dtype != torch.int64 or not tokens.is_contiguous():
            raise ValueError(f"tokens must be {batch} contiguous int64, one a row")
        if out is None:
            out = torch.empty(batch, self._vocabulary)
        elif out.shape != (batch, self._vocabulary) or out.dtype != torch.float32 or not out.is_contiguous():
            raise ValueError(f"out must be contiguous fp32 [{batch}, {self._vocabulary}]")
        if not batch:
            return out
        numbers: list[tuple[int, ...]] = []
        ends: list[int] = []
        for row in rows:
            self._check(row)
            numbers.extend((*segment.address, segment.length) for segment in row.segments)
            ends.append(len(numbers))
        segments = np.array(numbers, dtype=np.int64)
        row_ends = np.array(ends, dtype=np.int64)
        failed = self._library.workbench_decoder_step(
            self._handle,
            batch,
            tokens.data_ptr(),
            row_ends.ctypes.data,
            segments.ctypes.data,
            out.data_ptr(),
            threads or torch.get_num_threads(),
        )
        if failed == 1:
            raise ValueError(f"a token outside the vocabulary of {self._vocabulary}")
        if failed:
            raise MemoryError("no memory, or no thread to be had, for a decode step")
        return out

    def _check(self, row: Row) -> None:
        """Refuse whatever would make the native code read or write elsewhere."""
        if not row.segments:
            raise ValueError("a row with no segment to write to")
        total, last = 0, row.segments[-1]
        for segment in row.segments:
            if segment.layout != self._layout:
                raise ValueError(f"a segment of {segment.layout} in a decoder of {self._layout}")
            if not 0 <= segment.length <= segment.room - (segment is last):
                raise ValueError(f"length {segment.length} in a segment with room for {segment.room}")
            total += segment.length
        if total >= self._positions:
            raise ValueError(f"position {total} in a decoder of {self._positions} positions")


_known: weakref.WeakKeyDictionary[DecoderWeights, NativeDecoder | str] = weakref.WeakKeyDictionary()


def native_decoder(weights: DecoderWeights) -> NativeDecoder | str:
    """The native decoder of these weights, made once, or the reason why there is none."""
    known = _known.get(weights)
    if known is None:
        known = _known[weights] = _make(weights)
    return known


def _make(weights: DecoderWeights) -> NativeDecoder | str:
    if reason := _unsupported(weights):
        return reason
    try:
        return NativeDecoder(weights, load_library("decode"))
    except NativeCodeError as error:
        return error.message


def _unsupported(weights: DecoderWeights) -> str | None:
    """What the native code does not do, in words."""
    if weights.dtype not in (torch.float32, torch.bfloat16):
        return f"weights of {weights.dtype}, not float32 or bfloat16"
    if not weights.layers:
        return "no layers"
    heads, kv_heads, head_dim = weights.heads, weights.kv_heads, weights.head_dim
    if head_dim % 2 or heads % kv_heads:
        return f"{heads} heads of {head_dim} on {kv_heads} key/value heads"
    vocabulary, hidden = weights.embedding.shape
    intermediate = weights.layers[0].down.shape[1]
    qkv, positions = (heads + 2 * kv_heads) * head_dim, weights.cos.shape[0]
    shapes = {
        "qkv": (qkv, hidden),
        "qkv_bias": (qkv,),
        "output": (hidden, heads * head_dim),
        "output_bias": (hidden,),
        "gate_up": (2 * intermediate, hidden),
        "down": (hidden, intermediate),
        "input_norm": (hidden,),
        "post_norm": (hidden,),
        "q_norm": (head_dim,),
        "k_norm": (head_dim,),
    }
    tensors = [
        ("embedding", weights.embedding, (vocabulary, hidden)),
        ("head", weights.head, (vocabulary, hidden)),
        ("norm", weights.norm, (hidden,)),
        ("cos", weights.cos, (positions, head_dim)),
        ("sin", weights.sin, (positions, head_dim)),
        *((name, getattr(layer, name), shape) for layer in weights.layers for name, shape in shapes.items()),
    ]
    for name, tensor, shape in tensors:
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return f"{name} is on {tensor.device}"
        if tuple(tensor.shape) != shape:
            return f"{name} is {list(tensor.shape)}, not {list(shape)}"
        kind = torch.float32 if name in ("cos", "sin") else weights.dtype
        if tensor.dtype != kind or not tensor.is_contiguous():
            return f"{name} is not a contiguous tensor of {kind}"
    return None


def _declare(library: ctypes.CDLL) -> str:
    """Say what the library's functions take; the instructions that it was compiled for."""
    library.workbench_instructions.restype = ctypes.c_char_p
    library.workbench_decoder_new.argtypes = (c_void_p, c_void_p)
    library.workbench_decoder_new.restype = c_void_p
    library.workbench_decoder_free.argtypes = (c_void_p,)
    library.workbench_decoder_free.restype = None
    library.workbench_decoder_step.argtypes = (c_void_p, c_int64, *[c_void_p] * 4, c_int64)
    library.workbench_decoder_step.restype = c_int
    return str(library.workbench_instructions().decode())
