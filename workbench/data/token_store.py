"""Tokens on disk: written once in order, then mapped into memory and read at random."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16] | NDArray[np.uint32]
Side = Literal["train", "eval"]


def token_dtype(largest_id: int) -> np.dtype[np.unsignedinteger]:
    """Two bytes a token where they do."""
    return np.dtype(np.uint16 if largest_id < 1 << 16 else np.uint32)


class TokenWriter:
    """Appends documents to a new store in `folder`; complete only when closed without an error."""

    def __init__(self, folder: Path, dtype: np.dtype[np.unsignedinteger]) -> None:
        folder.mkdir()
        self._folder = folder
        self._dtype = dtype
        self._file = (folder / "tokens.bin").open("wb", buffering=1 << 20)
        self._offsets, self._sources, self._bytes = array("q", [0]), array("H"), array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is None:
            np.save(self._folder / "offsets.npy", np.frombuffer(self._offsets, np.int64))
            np.save(self._folder / "sources.npy", np.array(self._sources, np.uint16))
            np.save(self._folder / "bytes.npy", np.array(self._bytes, np.int64))

    def add(self, ids: list[int], source: int, num_bytes: int) -> None:
        """Append one document: its tokens, its place among the sources, the bytes of its text."""
        self._file.write(np.array(ids, self._dtype).tobytes())
        self._offsets.append(self._offsets[-1] + len(ids))
        self._sources.append(source)
        self._bytes.append(num_bytes)

    @property
    def size(self) -> dict[str, int]:
        """What was written so far."""
        return {
            "documents": len(self._bytes),
            "tokens": self._offsets[-1],
            "bytes": sum(self._bytes),
        }


class TokenStore:
    """The documents of one side of the split, as tokens in files.

    `tokens` [num_tokens] and `offsets` [num_documents + 1] are memory-mapped: document i is
    `tokens[offsets[i]:offsets[i + 1]]`, with the tokenizer's BOS first where it sets one, and EOS last
    where it has one. `weights[s]` says how often documents of source s are seen in an epoch.
    """

    def __init__(self, folder: Path, side: Side, dtype: str, weights: Sequence[float]) -> None:
        self.side: Side = side
        self.weights = tuple(weights)
        path = folder / "tokens.bin"
        # An empty file cannot be mapped.
        self.tokens: Tokens = (
            np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, np.dtype(dtype))
        )
        self.offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", mmap_mode="r")
        self.sources: NDArray[np.uint16] = np.load(folder / "sources.npy", mmap_mode="r")
        self.bytes: NDArray[np.int64] = np.load(folder / "bytes.npy", mmap_mode="r")
        self.num_documents = len(self.bytes)
        self.num_tokens = len(self.tokens)
        self.num_bytes = int(self.bytes.sum())

    def document(self, index: int) -> Tokens:
        """The tokens of one document, a view into the file."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def is_whole(folder: Path, tokens: int, dtype: str) -> bool:
    """Whether the files of a store are there and as long as they should be."""
    try:
        size = (folder / "tokens.bin").stat().st_size
    except OSError:
        return False
    rest = all((folder / name).is_file() for name in ("offsets.npy", "sources.npy", "bytes.npy"))
    return rest and size == tokens * np.dtype(dtype).itemsize
