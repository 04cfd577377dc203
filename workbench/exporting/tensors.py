"""The weights of a model by name: in the files of a folder, read one at a time, or held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import orjson
import torch
from safetensors import SafetensorError, safe_open

from workbench.errors import ModelError

INDEX = "model.safetensors.index.json"
STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Tensors(Protocol):
    """Weights by the names that transformers gives them."""

    def names(self) -> Iterable[str]:
        """All of them, in their order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Without reading it."""

    def get(self, name: str) -> torch.Tensor:
        """On the CPU. Raises `ModelError` when the file is damaged."""


class StoredTensors:
    """Those of a folder's `model*.safetensors`, of which no more than one is in memory."""

    def __init__(self, folder: Path) -> None:
        """Reads the headers. Raises `ModelError` for files that are missing or damaged."""
        self.files: dict[Path, list[str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}
        self._places: dict[str, Path] = {}
        self._open: tuple[Path, Any] | None = None
        for path in sorted(folder.glob("model*.safetensors")):
            self._read_header(path)
        _check_index(folder)

    def _read_header(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                self.files[path] = names = list(file.keys())
                for name in names:
                    part = file.get_slice(name)
                    self._shapes[name], self._dtypes[name] = tuple(part.get_shape()), part.get_dtype()
                    self._places[name] = path
        except (OSError, SafetensorError) as error:
            raise ModelError(f"a weight file is damaged or cut short: {error}", where=str(path)) from None

    @property
    def dtype(self) -> torch.dtype:
        """The commonest floating-point type, by numbers in it; fp32 where there is none."""
        counts: dict[str, int] = {}
        for name, dtype in self._dtypes.items():
            counts[dtype] = counts.get(dtype, 0) + torch.Size(self._shapes[name]).numel()
        floats = {dtype: count for dtype, count in counts.items() if dtype in STORED}
        return STORED[max(floats, key=floats.__getitem__)] if floats else torch.float32

    def names(self) -> Iterable[str]:
        return self._shapes

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get(self, name: str) -> torch.Tensor:
        path = self._places[name]
        try:
            if self._open is None or self._open[0] != path:
                self._open = (path, safe_open(path, "pt"))
            tensor: torch.Tensor = self._open[1].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{name} cannot be read: {error}", where=str(path)) from None
        return tensor


class HeldTensors:
    """Those of a model in memory."""

    def __init__(self, model: Any) -> None:
        self._held: dict[str, torch.Tensor] = model.state_dict()

    def names(self) -> Iterable[str]:
        return self._held

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._held[name].shape)

    def get(self, name: str) -> torch.Tensor:
        return self._held[name]


def _check_index(folder: Path) -> None:
    """Files that the index of a model in several parts names must be there."""
    path = folder / INDEX
    if not path.is_file():
        return
    try:
        wanted = {str(file) for file in orjson.loads(path.read_bytes())["weight_map"].values()}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{INDEX} is damaged: {error}", where=str(folder)) from None
    missing = sorted(file for file in wanted if not (folder / file).is_file())
    if missing:
        raise ModelError(
            f"{len(missing)} of {len(wanted)} weight files are missing: {', '.join(missing[:3])}",
            where=str(folder),
            hint="it was copied or downloaded incompletely; get it again",
        )
