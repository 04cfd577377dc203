"""Rows of corrupted text for an encoder, with what the decoder is to say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.corruption import infilling, spans
from workbench.data.corruption.spans import NO_SPAN, Corrupted, SpanNoise, Tokens
from workbench.data.draws import Draws
from workbench.data.rows import NO_TARGET, PADDING
from workbench.objectives.base import Batch
from workbench.objectives.padding import padded, rounded_up
from workbench.objectives.piece_batches import PieceBatches

if TYPE_CHECKING:
    from workbench.data.pieces import PieceRow

NOISE = 31
"""What a draw is for."""


class Noised(NamedTuple):
    """One row. What the encoder reads [n]: `inputs`, the text in the row that each is of, the span that it
    stands for. What the decoder reads and is to say [m]: `decoder_inputs`, `targets`, the text that each is
    of, the span that a target is a token of. Spans count in the row, NO_SPAN is none. `cropped` tokens were
    cut off."""

    inputs: Tokens
    input_texts: Tokens
    marks: Tokens
    decoder_inputs: Tokens
    targets: Tokens
    target_texts: Tokens
    spans: Tokens
    cropped: int


@dataclass(frozen=True)
class DenoiseRows(PieceBatches):
    """Batches of corrupted rows, the noise drawn by the number of the row.

    With `isolate`, each piece of a row is a text of its own: with its own sentinels from the first on, its
    own start of the decoder, seen by itself alone. Without, the row is one text: its pieces with the frames
    between them, which are cut out like any other token. `mask_id` is that of infilling; None cuts spans
    out for `sentinels`.
    """

    noise: SpanNoise
    sentinels: Tokens
    mask_id: int | None
    pad_id: int
    start_id: int
    seed: int
    side: int
    isolate: bool

    def report(self) -> dict[str, Any]:
        """The first epoch. `padding` and `efficiency` are of what the encoder reads, of infilling of what the
        decoder says; `cropped` counts the tokens that were cut off; `target_tokens` are those predicted."""
        report, frame = super().report(), self.source.frame.size
        count, (rows, sizes) = self.rows_per_epoch(0), self.source.piece_sizes()
        places = count * self.length
        if not self.isolate:
            pieces = np.bincount(rows, minlength=count)
            sizes = np.bincount(rows, sizes, minlength=count).astype(np.int64) + (pieces - 1) * frame
            rows, sizes = np.flatnonzero(pieces), sizes[pieces > 0]
        if self.mask_id is not None:
            return {**report, "target_tokens": places - report["padding"]}
        used = np.bincount(rows, _each(self.noise.input_length, sizes) + frame, minlength=count)
        target_tokens, cropped = self._said(sizes.tolist()), 0
        for row in np.flatnonzero(used > self.length).tolist():
            whole = sizes[rows == row].tolist()
            fitting = self.fitting(whole)
            cropped += sum(whole) - sum(fitting)
            used[row] = sum(self.noise.input_length(size) + frame for size in fitting)
            target_tokens -= self._said(whole) - self._said(fitting)
        padding = places - int(used.sum())
        return {
            **report,
            "padding": padding,
            "efficiency": round(1 - padding / places, 6) if places else 0.0,
            "cropped": cropped,
            "target_tokens": target_tokens,
        }

    def _said(self, sizes: list[int]) -> int:
        said = _each(self.noise.target_length, np.array(sizes, np.int64))
        return int(said.sum()) + len(sizes) * len(self.source.frame.suffix)

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, corrupted."""
        return self.assemble([self.corrupt(row) for row in self.source.rows(start, count)])

    def texts(self, row: PieceRow) -> tuple[list[Tokens], int]:
        """The texts of a row that are corrupted each on its own, and how many tokens had to be cut off."""
        pieces, frame = [piece.tokens for piece in row.pieces], self.source.frame
        if not self.isolate:
            between = np.array([*frame.suffix, *frame.prefix], np.int64)
            parts = [part for piece in pieces for part in (between, piece)]
            return [np.concatenate(parts[1:])] if parts else [], 0
        sizes = self.fitting([len(piece) for piece in pieces])
        cropped = sum(len(piece) for piece in pieces) - sum(sizes)
        return [piece[:size] for piece, size in zip(pieces, sizes, strict=False)], cropped

    def fitting(self, sizes: list[int]) -> list[int]:
        """The sizes of a row's pieces, the last ones made shorter where together they would overflow.

        A row has as much text as fits if it were one piece; each of several rounds its noise up to a token
        and a span, so that less is cut out.
        """
        if self.mask_id is not None:
            return sizes
        sizes, frame = list(sizes), self.source.frame.size
        room = self.length - sum(self.noise.input_length(size) + frame for size in sizes)
        while room < 0:
            last = sizes.pop()
            room += self.noise.input_length(last) + frame
            if room > frame:
                sizes.append(min(last, self.noise.raw_length(room - frame)))
                room -= self.noise.input_length(sizes[-1]) + frame
        return sizes

    def corrupt(self, row: PieceRow) -> Noised:
        """Corrupt a row, by its number."""
        texts, cropped = self.texts(row)
        draws = Draws(self.seed, NOISE, self.side, row.index)
        return self.noised([self._corrupt(text, draws) for text in texts], cropped)

    def _corrupt(self, text: Tokens, draws: Draws) -> Corrupted:
        if self.mask_id is None:
            return spans.corrupt(text, self.sentinels, self.noise, draws)
        return infilling.corrupt(text, self.mask_id, self.noise, draws)

    def noised(self, texts: list[Corrupted], cropped: int = 0) -> Noised:
        """Corrupted texts with their frames, one behind the other. What T5 says has no frame but its end."""
        frame = self.source.frame
        prefix, suffix = np.array(frame.prefix, np.int64), np.array(frame.suffix, np.int64)
        spoken = prefix if self.mask_id is not None else prefix[:0]
        inputs = [np.concatenate([prefix, text.inputs, suffix]) for text in texts]
        targets = [np.concatenate([spoken, text.targets, suffix]) for text in texts]
        start = np.array([self.start_id])
        marks, owners, first = list[Tokens](), list[Tokens](), 0
        for text in texts:
            marks.append(_between(_shifted(text.marks, first), len(prefix), len(suffix)))
            owners.append(_between(_shifted(text.spans, first), len(spoken), len(suffix)))
            first += int(text.marks.max(initial=NO_SPAN)) + 1
        return Noised(
            _joined(inputs),
            _numbers(inputs),
            _joined(marks),
            _joined([np.concatenate([start, target[:-1]]) for target in targets]),
            _joined(targets),
            _numbers(targets),
            _joined(owners),
            cropped,
        )

    def assemble(self, rows: list[Noised]) -> Batch:
        """Pad rows: `input_ids`, `groups` [rows, L]; `decoder_input_ids`, `decoder_groups`, `targets`,
        `spans` [rows, M]. Tokens of a group see each other, −1 is padding. `extra` has `marks` [rows, L] and
        `cropped` [rows]."""
        width = self.length
        if not self.source.packing:
            width = rounded_up(max(len(row.inputs) for row in rows), width)
        long = rounded_up(max(len(row.targets) for row in rows))
        groups = padded([row.input_texts for row in rows], width, PADDING)
        targets = padded([row.targets for row in rows], long, NO_TARGET)
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": padded([row.inputs for row in rows], width, self.pad_id),
            "groups": groups,
            "decoder_input_ids": padded([row.decoder_inputs for row in rows], long, self.pad_id),
            "decoder_groups": padded([row.target_texts for row in rows], long, PADDING),
            "targets": targets,
            "spans": padded([row.spans for row in rows], long, NO_SPAN),
        }
        count = int((targets != NO_TARGET).sum())
        extra = {
            "marks": padded([row.marks for row in rows], width, NO_SPAN),
            "cropped": [row.cropped for row in rows],
        }
        return Batch(arrays, (count,), int((groups != PADDING).sum()) + count, extra)


def _each(function: Any, sizes: Tokens) -> Tokens:
    """A function of each size; there are few different ones."""
    distinct, where = np.unique(sizes, return_inverse=True)
    return np.array([function(size) for size in distinct.tolist()], np.int64)[where]


def _shifted(numbers: Tokens, first: int) -> Tokens:
    return np.where(numbers == NO_SPAN, NO_SPAN, numbers + first)


def _between(numbers: Tokens, before: int, behind: int) -> Tokens:
    return np.pad(numbers, (before, behind), constant_values=NO_SPAN)


def _joined(parts: list[Tokens]) -> Tokens:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _numbers(parts: list[Tokens]) -> Tokens:
    """The number of its part for each token of the parts, one behind the other."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
