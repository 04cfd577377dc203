"""Documents to rows of whole or cut pieces, for objectives that frame and corrupt each piece themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.epoch_rows import EpochRows, Layout
from workbench.data.epochs import Indices
from workbench.data.framing import Frame
from workbench.data.token_store import TokenStore


class Piece(NamedTuple):
    """A run of tokens of one document, without its frame; `start` counts from the document's first."""

    tokens: NDArray[np.int64]
    document: int
    start: int


@dataclass(frozen=True)
class PieceRow:
    """The pieces of one row, and the number of the row through all epochs, which its draws depend on."""

    index: int
    pieces: list[Piece]


class PieceRows(EpochRows):
    """Rows of pieces that are to be framed.

    With packing, the framed documents of an epoch form one stream, and row i takes `stride` tokens of it
    from i·stride on. A document that is cut there gets its frame anew on both sides, so a row holds at most
    `stride + frame.size` tokens: no token is lost, and only a few places of a row stay empty. Without
    packing, each document is cut into pieces of at most `stride` tokens, one a row.
    """

    def __init__(
        self,
        store: TokenStore,
        length: int,
        *,
        stride: int,
        frame: Frame,
        packing: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        weights: Sequence[float] | None = None,
    ) -> None:
        """`length` is what a finished row may have; documents are stored with `frame` around them."""
        self.stride, self.frame = stride, frame
        super().__init__(store, length, packing=packing, shuffle=shuffle, seed=seed, weights=weights)

    def _stride(self) -> int:
        return self.stride

    def _smallest_row(self) -> int:
        return self.stride if self.packing else self.frame.size + 1

    def _make_starts(self, sizes: Indices) -> tuple[Indices, int]:
        if not self.packing:
            sizes = -(-(sizes - self.frame.size) // self.stride)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        total = int(starts[-1])
        return starts, -(-total // self.stride) if self.packing else total

    def rows(self, start: int, count: int) -> list[PieceRow]:
        """`count` rows from global index `start` on, across the ends of epochs."""
        found = []
        for number, (epoch, index) in enumerate(self.places(start, count), start):
            layout = self._layout(epoch)
            place = self._place_in(layout, epoch, index)
            pieces = self._packed(layout, place) if self.packing else [self._single(layout, place)]
            found.append(PieceRow(number, pieces))
        return found

    def _packed(self, layout: Layout, index: int) -> list[Piece]:
        starts = layout.starts
        low = index * self.stride
        high = min(low + self.stride, int(starts[-1]))
        first = int(np.searchsorted(starts, low, "right")) - 1
        last = int(np.searchsorted(starts, high, "left"))
        before, behind = len(self.frame.prefix), len(self.frame.suffix)
        pieces = []
        for number in range(first, last):
            begin = max(low, int(starts[number]) + before)
            end = min(high, int(starts[number + 1]) - behind)
            if begin < end:
                pieces.append(self._piece(layout, number, begin - int(starts[number]), end - begin))
        return pieces

    def _single(self, layout: Layout, index: int) -> Piece:
        number = int(np.searchsorted(layout.starts, index, "right")) - 1
        start = (index - int(layout.starts[number])) * self.stride
        document = int(layout.documents[number])
        size = int(self._offsets[document + 1] - self._offsets[document]) - self.frame.size
        return self._piece(layout, number, start + len(self.frame.prefix), min(self.stride, size - start))

    def _piece(self, layout: Layout, number: int, offset: int, size: int) -> Piece:
        document = int(layout.documents[number])
        begin = int(self._offsets[document]) + offset
        tokens = self.store.tokens[begin : begin + size].astype(np.int64)
        return Piece(tokens, document, offset - len(self.frame.prefix))

    def piece_sizes(self) -> tuple[Indices, Indices]:
        """The pieces of the first epoch, in the order of the stream: the row each is in, and its tokens,
        without its frame. 16 bytes a piece, and no token is read."""
        layout = self._layout(0)
        sizes, stride = self._sizes(layout.documents) - self.frame.size, self.stride
        begin = layout.starts[:-1] + len(self.frame.prefix)
        if not self.packing:
            begin = layout.starts[:-1] * stride
        first, last = begin // stride, (begin + sizes - 1) // stride
        counts = np.where(sizes > 0, last - first + 1, 0)
        piece = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(first, counts) + piece
        low = np.maximum(np.repeat(begin, counts), rows * stride)
        high = np.minimum(np.repeat(begin + sizes, counts), (rows + 1) * stride)
        return rows, high - low

    def body(self, document: int) -> NDArray[np.int64]:
        """All tokens of a document, without its frame."""
        tokens = self.store.document(document)
        return tokens[len(self.frame.prefix) : len(tokens) - len(self.frame.suffix)].astype(np.int64)

    def report(self) -> dict[str, float | int]:
        """The first epoch: `rows`, `tokens`, `padding`, `efficiency` (share of places used), `cropped`."""
        layout = self._layout(0)
        sizes = self._sizes(layout.documents)
        tokens, places = int(sizes.sum()), layout.rows * self.length
        if self.packing:
            cuts = np.arange(1, layout.rows) * self.stride
            document = np.searchsorted(layout.starts, cuts, "right") - 1
            offset = cuts - layout.starts[document]
            before, behind = len(self.frame.prefix), len(self.frame.suffix)
            framed_anew = int(((offset > before) & (offset < sizes[document] - behind)).sum())
        else:
            framed_anew = layout.rows - len(layout.documents)
        used = tokens + framed_anew * self.frame.size
        return {
            "rows": layout.rows,
            "tokens": tokens,
            "padding": places - used,
            "efficiency": round(used / places, 6) if places else 0.0,
            "cropped": 0,
        }
