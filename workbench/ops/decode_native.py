"""The native decoder, `kernels/decode.cpp`, behind ctypes: one call a step."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import c_double, c_int, c_int64, c_void_p

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.ops.decoder import DecoderWeights, Row
from workbench.ops.native import NativeCodeError, load_library

LAYER_FIELDS = ("input_norm", "post_norm", "q_norm", "k_norm", "qkv_bias", "output_bias")
LAYER_MATRICES = ("qkv", "output", "gate_up", "down")
MOST_THREADS = 256


class _Layer(ctypes.Structure):
    _fields_ = [(name, c_void_p) for name in LAYER_FIELDS + LAYER_MATRICES]


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int64) for name in ("intermediate", "vocabulary", "is_bf16")),
        *((name, c_double) for name in ("eps", "scaling")),
        *((name, c_void_p) for name in ("embedding", "head", "norm", "cos", "sin")),
    ]


class _Step(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("rows", "wanted_count", "threads")),
        *((name, c_void_p) for name in ("tokens", "token_ends", "row_ends", "wanted", "segments", "logits")),
    ]


class NativeDecoder:
    """A decoder over weights whose tensors it keeps alive. Steps of several Python threads take turns."""

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

    def decode(
        self, tokens: Tensor, rows: Sequence[Row], *, out: Tensor | None = None, threads: int | None = None
    ) -> Tensor:
        """See `decode_step`."""
        each = np.arange(len(rows), dtype=np.int64)
        return self._step(tokens, rows, each + 1, each, out, threads)

    def prefill(
        self, tokens: Tensor, row: Row, wanted: Sequence[int], *, threads: int | None = None
    ) -> Tensor:
        """Logits [len(wanted), V] of the tokens with these numbers, after `tokens` [n] of one row."""
        end = np.array([len(tokens)], dtype=np.int64)
        return self._step(tokens, [row], end, np.array(wanted, dtype=np.int64), None, threads)

    def _step(
        self,
        tokens: Tensor,
        rows: Sequence[Row],
        token_ends: NDArray[np.int64],
        wanted: NDArray[np.int64],
        out: Tensor | None,
        threads: int | None,
    ) -> Tensor:
        count = int(token_ends[-1]) if len(rows) else 0
        shape = (len(wanted), self._vocabulary)
        if tokens.shape != (count,) or tokens.dtype != torch.int64 or not tokens.is_contiguous():
            raise ValueError(f"tokens must be {count} contiguous int64")
        if out is None:
            out = torch.empty(shape)
        elif out.shape != shape or out.dtype != torch.float32 or not out.is_contiguous():
            raise ValueError(f"out must be contiguous fp32 {list(shape)}")
        if not count:
            return out
        numbers: list[tuple[int, ...]] = []
        row_ends: list[int] = []
        for row, new in zip(rows, np.diff(token_ends, prepend=0), strict=True):
            self._check(row, int(new))
            numbers.extend((*segment.address, segment.length) for segment in row.segments)
            row_ends.append(len(numbers))
        arrays = (token_ends, np.array(row_ends, dtype=np.int64), wanted, np.array(numbers, dtype=np.int64))
        step = _Step(
            len(rows),
            len(wanted),
            min(threads or torch.get_num_threads(), MOST_THREADS),
            tokens.data_ptr(),
            *(array.ctypes.data for array in arrays),
            out.data_ptr(),
        )
        failed = self._library.workbench_decoder_step(self._handle, ctypes.byref(step))
        if failed == 1:
            raise ValueError(f"a token outside the vocabulary of {self._vocabulary}")
        if failed:
            raise MemoryError("no memory, or no thread to be had, for a step of a decoder")
        return out

    def _check(self, row: Row, new: int) -> None:
        """Refuse whatever would make the native code read or write elsewhere."""
        if not row.segments:
            raise ValueError("a row with no segment to write to")
        total, last = 0, row.segments[-1]
        for segment in row.segments:
            if segment.layout != self._layout:
                raise ValueError(f"a segment of {segment.layout} in a decoder of {self._layout}")
            if not 0 <= segment.length <= segment.room - (new if segment is last else 0):
                raise ValueError(f"length {segment.length} and {new} new in room for {segment.room}")
            total += segment.length
        if total + new > self._positions:
            raise ValueError(f"position {total + new - 1} in a decoder of {self._positions} positions")


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
    library.workbench_decoder_step.argtypes = (c_void_p, c_void_p)
    library.workbench_decoder_step.restype = c_int
    return str(library.workbench_instructions().decode())
