"""Launches of the shared-prefix attention kernels, made from nothing but the shapes and addresses of tensors.

Letters as in `shared_prefix.definition`: B rows, H query heads on KV key/value heads (G to each), S queries,
P positions of the prefix, T own ones, d size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.cuda.kernel import Kernel, Launch
from workbench.ops.cuda.shared_prefix_params import (
    SIZES,
    TENSORS,
    BackwardParams,
    DecodeParams,
    ForwardParams,
    InputParams,
    Strides,
)
from workbench.ops.shared_prefix.definition import Gradients, Inputs

HEADS = (64, 96, 128)
TYPES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
ROWS, THREADS = 64, 128
LARGEST_GRID = 65_535
"""Blocks along y and z."""
ALIGNMENT = 16
BLOCKS_EACH = 2
"""Blocks that a multiprocessor is given to hide what each of them waits for."""


def unsupported(inputs: Inputs) -> str | None:
    """Why the kernels do not take a call, in words; None where they do."""
    query = inputs.query
    batch, heads, queries, size = query.shape
    if query.dtype not in TYPES:
        return f"the kernels are for bf16, fp16 and fp32, not {query.dtype}"
    if size not in HEADS:
        return f"the kernels are for heads of 64, 96 and 128, not {size}"
    if not inputs.scale > 0:
        return f"the kernels need a positive scale, not {inputs.scale}"
    if 0 in (batch, queries):
        return "there is nothing to compute"
    if max(batch, inputs.key.shape[1]) > LARGEST_GRID:
        return f"more than {LARGEST_GRID} rows or heads"
    if batch * heads * queries >= 2**31 or inputs.prefix_key.shape[:2].numel() >= 2**31:
        return "more than 2³¹ queries or positions"
    return None


def fitted(tensor: Tensor) -> Tensor:
    """The tensor itself where the kernels can read it in pieces of 16 bytes, else a contiguous copy."""
    size = tensor.element_size()
    steps = (tensor.stride(i) for i in range(tensor.ndim - 1) if tensor.shape[i] > 1)
    is_aligned = not tensor.data_ptr() % ALIGNMENT and all(not step * size % ALIGNMENT for step in steps)
    if tensor.stride(-1) == 1 and is_aligned:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def prepared(inputs: Inputs) -> Inputs:
    """The same call in the layouts that the kernels take."""
    starts, ends = (
        None if one is None else one.to(torch.int32).contiguous() for one in (inputs.starts, inputs.ends)
    )
    query, prefix_key, prefix_value, key, value = map(fitted, inputs[:5])
    return Inputs(query, prefix_key, prefix_value, key, value, starts, ends, inputs.scale)


def decodes(inputs: Inputs, multiprocessors: int) -> bool:
    """Whether one block for each 64 queries would leave multiprocessors idle: then keys are split too."""
    return _tiles(inputs) * inputs.key.shape[1] < multiprocessors


def decode_splits(inputs: Inputs, multiprocessors: int) -> tuple[int, int]:
    """Parts that the prefix and the own keys are split into, whole tiles each."""
    kv_heads, own = inputs.key.shape[1:3]
    tile = 64 if inputs.query.element_size() == 2 else 32
    wanted, tiles = BLOCKS_EACH * multiprocessors, _tiles(inputs)
    on_prefix = min(_parts(wanted, tiles * kv_heads), _parts(inputs.prefix_key.shape[1], tile))
    blocks = len(inputs.query) * _own_tiles(inputs) * kv_heads
    return on_prefix, min(_parts(wanted, blocks), _parts(own, tile))


def backward_splits(inputs: Inputs, multiprocessors: int) -> int:
    """Parts of the rows of the batch whose prefix gradients are summed apart."""
    resident, streamed = _backward_tiles(inputs)
    blocks = _parts(inputs.prefix_key.shape[1], resident) * inputs.key.shape[1]
    rows = inputs.query.shape[:3].numel() // inputs.key.shape[1]
    return max(1, min(_parts(BLOCKS_EACH * multiprocessors, blocks), _parts(rows, streamed), LARGEST_GRID))


def forward_launches(inputs: Inputs, output: Tensor, lse: Tensor) -> list[Launch]:
    """A block for each 64 queries of a key/value head; writes `output` [B, H, S, d], `lse` [B, H, S]."""
    params = ForwardParams(_inputs(inputs), output.data_ptr(), Strides.of(output), lse.data_ptr())
    kernel = _kernel(inputs, "shared_prefix_forward")
    grid = (_tiles(inputs), inputs.key.shape[1], 1)
    return [Launch(kernel, grid, (THREADS, 1, 1), _shared_bytes(inputs), (bytes(params),))]


def decode_launches(
    inputs: Inputs, output: Tensor, lse: Tensor, partial: Tensor, partial_lse: Tensor, splits: tuple[int, int]
) -> list[Launch]:
    """The same with keys split; `partial` [sum of splits, B, H, S, d], `partial_lse` without d, are fp32."""
    params = DecodeParams(
        _inputs(inputs),
        output.data_ptr(),
        Strides.of(output),
        lse.data_ptr(),
        partial.data_ptr(),
        partial_lse.data_ptr(),
        *splits,
    )
    blocks = _tiles(inputs) * splits[0] + len(inputs.query) * _own_tiles(inputs) * splits[1]
    block, parameters = (THREADS, 1, 1), (bytes(params),)
    first, second = (
        _kernel(inputs, name, "shared_prefix_decode")
        for name in ("shared_prefix_decode", "shared_prefix_decode_combine")
    )
    return [
        Launch(first, (blocks, inputs.key.shape[1], 1), block, _shared_bytes(inputs), parameters),
        Launch(second, (_parts(lse.numel(), 4), 1, 1), block, 0, parameters),
    ]


def backward_launches(
    inputs: Inputs,
    grad: Tensor,
    output: Tensor,
    lse: Tensor,
    gradients: Gradients,
    delta: Tensor,
    partials: tuple[Tensor, Tensor],
) -> list[Launch]:
    """Five launches that write `gradients`; `delta` [B, H, S] and `partials` [splits, KV, P, d] are fp32."""
    batch, heads, queries, size = inputs.query.shape
    kv_heads, own = inputs.key.shape[1:3]
    prefix, splits = inputs.prefix_key.shape[1], len(partials[0])
    params = BackwardParams(
        inputs=_inputs(inputs), lse=lse.data_ptr(), delta=delta.data_ptr(), prefix_splits=splits
    )
    written = {f"{name}_grad": tensor for name, tensor in zip(TENSORS, gradients, strict=True)}
    for name, tensor in {"output": output, "grad": grad, **written}.items():
        setattr(params, name, tensor.data_ptr())
        setattr(params, f"{name}_strides", Strides.of(tensor))
    params.partial_prefix_key_grad, params.partial_prefix_value_grad = (part.data_ptr() for part in partials)
    resident, _ = _backward_tiles(inputs)
    shared = _backward_shared_bytes(inputs)
    grids = {
        "delta": ((_parts(batch * heads * queries, 4), 1, 1), 0),
        "query": ((_parts(queries * (heads // kv_heads), resident), kv_heads, batch), shared),
        "own": ((_parts(own, resident), kv_heads, batch), shared),
        "prefix": ((_parts(prefix, resident), kv_heads, splits), shared),
        "reduce": ((_parts(kv_heads * prefix * size, 512), 2, 1), 0),
    }
    return [
        Launch(
            _kernel(inputs, f"shared_prefix_backward_{name}"), grid, (THREADS, 1, 1), used, (bytes(params),)
        )
        for name, (grid, used) in grids.items()
    ]


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _tiles(inputs: Inputs) -> int:
    return _parts(inputs.query.shape[:3].numel() // inputs.key.shape[1], ROWS)


def _own_tiles(inputs: Inputs) -> int:
    heads, queries = inputs.query.shape[1:3]
    return _parts(queries * (heads // inputs.key.shape[1]), ROWS)


def _kernel(inputs: Inputs, name: str, source: str | None = None) -> Kernel:
    options = (f"-DHEAD={inputs.query.shape[3]}", f"-D{TYPES[inputs.query.dtype]}")
    return Kernel(f"{source or name}.cu", name, options)


def _shared_bytes(inputs: Inputs) -> int:
    size = inputs.query.element_size()
    keys = 64 if size == 2 else 32
    return (ROWS + 4 * keys) * (inputs.query.shape[3] + 16 // size) * size


def _backward_tiles(inputs: Inputs) -> tuple[int, int]:
    """Rows that a block of the backward keeps, and that it streams past them."""
    size = inputs.query.shape[3]
    if inputs.query.element_size() == 2:
        return 64, 64 if size == 64 else 32
    return 32, 16 if size == 128 else 32


def _backward_shared_bytes(inputs: Inputs) -> int:
    size, (resident, streamed) = inputs.query.shape[3], _backward_tiles(inputs)
    row, scratch = (
        (2 * size, 0) if inputs.query.element_size() == 2 else (4 * size + 16, 128 * (streamed + 4))
    )
    return 2 * (resident + 2 * streamed) * row + 16 * streamed + scratch


def _inputs(inputs: Inputs) -> InputParams:
    batch, heads, queries, _ = inputs.query.shape
    kv_heads, own = inputs.key.shape[1:3]
    sizes = (batch, heads, kv_heads, queries, inputs.prefix_key.shape[1], own)
    params = InputParams(scale=inputs.scale, **dict(zip(SIZES, sizes, strict=True)))
    for name in (*TENSORS, "starts", "ends"):
        tensor = getattr(inputs, name)
        setattr(params, name, None if tensor is None else tensor.data_ptr())
        if name in TENSORS:
            setattr(params, f"{name}_strides", Strides.of(tensor))
    return params
