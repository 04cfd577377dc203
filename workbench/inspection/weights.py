"""The tensors in weight files, from their headers: nothing is loaded, nothing is run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import MissingExtraError, ModelError
from workbench.installing import pip_install

LAYER = re.compile(r"^(.*?\.?(?:layers?|h|block|blk|blocks)\.\d+)\.")
"""The layer that a tensor belongs to, by its name: `model.layers.3`, `blk.3`, `encoder.block.0`."""

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16}
BITS |= {"BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: its shape, the name of its type, its size in its file, and the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    file: str

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "parameters": self.parameters,
            "bytes": self.num_bytes,
            "file": self.file,
        }


def of_safetensors(path: Path) -> list[TensorInfo]:
    """The tensors of one file. Raises `ModelError` when it is damaged or cut short."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            found = []
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                part = file.get_slice(name)
                found.append(_tensor(name, part.get_shape(), part.get_dtype(), path.name))
            return found
    except SafetensorError as error:
        raise ModelError(f"the weight file is damaged or cut short: {error}", where=str(path)) from None
    except OSError as error:
        raise ModelError(f"it cannot be read: {error.strerror or error}", where=str(path)) from None


def _tensor(name: str, shape: Iterable[int], dtype: str, file: str) -> TensorInfo:
    dims = tuple(int(size) for size in shape)
    return TensorInfo(name, dims, dtype, math.prod(dims) * BITS.get(dtype, 0) // 8, file)


def of_hub(metadata: Any) -> list[TensorInfo]:
    """The same from what the hub's client read of the headers over there."""
    return [
        TensorInfo(
            name,
            tuple(info.shape),
            info.dtype,
            info.data_offsets[1] - info.data_offsets[0],
            file,
        )
        for file, header in metadata.files_metadata.items()
        for name, info in header.tensors.items()
    ]


def open_gguf(path: Path) -> Any:
    """A reader of a GGUF file. Raises `MissingExtraError`, `ModelError`."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingExtraError(
            "reading GGUF files needs the package gguf",
            where=str(path),
            hint=pip_install("gguf"),
        ) from None
    try:
        return GGUFReader(path)
    except Exception as error:
        # It parses by hand: ValueError, KeyError, IndexError, OverflowError, whatever a damaged byte gives.
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the GGUF file is damaged or cut short: {first}", where=str(path)) from None


def of_gguf(reader: Any, file: str) -> list[TensorInfo]:
    """The tensors of a GGUF file; shapes in PyTorch's order, the file's is the reverse."""
    return [
        TensorInfo(
            str(tensor.name),
            tuple(int(size) for size in reversed(tensor.shape.tolist())),
            tensor.tensor_type.name,
            int(tensor.n_bytes),
            file,
        )
        for tensor in reader.tensors
    ]


def groups_of(tensors: Sequence[TensorInfo]) -> list[dict[str, Any]]:
    """Tensors by layer, in the order of their first; what is in no layer by the module it is of.

    Each: `name`, `layer` (whether it is one), `parameters`, `bytes`, `tensors` (as mappings).
    """
    groups: dict[str, dict[str, Any]] = {}
    for tensor in sorted(tensors, key=lambda tensor: natural(tensor.name)):
        match = LAYER.match(tensor.name)
        name = match[1] if match else tensor.name.rpartition(".")[0] or tensor.name
        group = groups.setdefault(
            name, {"name": name, "layer": bool(match), "parameters": 0, "bytes": 0, "tensors": []}
        )
        group["parameters"] += tensor.parameters
        group["bytes"] += tensor.num_bytes
        group["tensors"].append(tensor.as_dict())
    return list(groups.values())


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts layer 10 behind layer 9."""
    return [
        (int(part), "") if part.isdigit() and len(part) < 10 else (-1, part)
        for part in re.split(r"(\d+)", name)
    ]
