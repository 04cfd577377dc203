"""Rows of corrupted pieces for an encoder, with what the decoder is to say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.corruption import infilling, spans
from workbench.data.corruption.spans import NO_SPAN, Corrupted, Tokens
from workbench.data.draws import Draws
from workbench.data.rows import NO_TARGET, PADDING
from workbench.objectives.base import Batch
from workbench.objectives.padding import padded, rounded_up

if TYPE_CHECKING:
    from workbench.data.pieces import PieceRow, PieceRows
    from workbench.recipe import ObjectiveSection

NOISE = 31
"""What a draw is for."""


class Noised(NamedTuple):
    """One row: `inputs` [n] and the piece each is in; `decoder_inputs`, `targets`, their pieces, and the span
    that each target is of (NO_SPAN for sentinels, frames and text that was left) [m]; what was cropped."""

    inputs: Tokens
    input_pieces: Tokens
    decoder_inputs: Tokens
    targets: Tokens
    target_pieces: Tokens
    spans: Tokens
    cropped: int


@dataclass(frozen=True)
class DenoiseRows:
    """Batches of corrupted rows, the noise drawn by the number of the row.

    With `isolate`, each piece of a row has its own sentinels from the first on, its own start of the
    decoder, and sees only itself; without, a row is one sequence.
    """

    source: PieceRows
    section: ObjectiveSection
    sentinels: Tokens
    mask_id: int
    pad_id: int
    start_id: int
    seed: int
    side: int
    isolate: bool
    _report: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Tokens of the encoder in a row, at most."""
        return self.source.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.source.rows_per_epoch(epoch)

    def report(self, sample: int = 256) -> dict[str, Any]:
        """The first epoch. Padding, efficiency and cropped tokens are those of the first rows, at most
        `sample`, scaled to all: how long a row comes out shows only when it is corrupted."""
        if not self._report:
            rows = self.rows_per_epoch(0)
            looked = [self.noise(row) for row in self.source.rows(0, min(rows, sample))]
            used = sum(len(row.inputs) for row in looked)
            places = max(1, len(looked) * self.length)
            scale = rows / max(1, len(looked))
            self._report.update(
                {
                    **self.source.report(),
                    "padding": round((places - used) * scale) if looked else 0,
                    "efficiency": round(used / places, 6),
                    "cropped": round(sum(row.cropped for row in looked) * scale),
                    "target_tokens": round(sum(len(row.targets) for row in looked) * scale),
                }
            )
        return self._report

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, corrupted."""
        return self.assemble([self.noise(row) for row in self.source.rows(start, count)])

    def noise(self, row: PieceRow) -> Noised:
        """Corrupt a row, by its number."""
        draws = Draws(self.seed, NOISE, self.side, row.index)
        bodies, cropped = self._fitting([piece.tokens for piece in row.pieces])
        prefix, suffix = (
            np.array(part, np.int64) for part in (self.source.frame.prefix, self.source.frame.suffix)
        )
        inputs, targets, spans_of = [], [], []
        first_span = 0
        for body in bodies:
            found = self._corrupt(body, draws, 0 if self.isolate else first_span)
            inputs.append(np.concatenate([prefix, found.inputs, suffix]))
            said = (
                [found.targets, suffix] if self.section.noise == "spans" else [prefix, found.targets, suffix]
            )
            targets.append(np.concatenate(said))
            unframed = np.full(len(targets[-1]), NO_SPAN, np.int64)
            before = 0 if self.section.noise == "spans" else len(prefix)
            unframed[before : before + len(found.spans)] = np.where(
                found.spans == NO_SPAN, NO_SPAN, found.spans + first_span
            )
            spans_of.append(unframed)
            first_span += int(found.spans.max(initial=-1)) + 1
        start = np.array([self.start_id])
        if self.isolate:
            shifted = np.concatenate([np.concatenate([start, target[:-1]]) for target in targets])
        else:
            shifted = np.concatenate([start, *targets])[:-1]
        return Noised(
            np.concatenate(inputs),
            _numbers(inputs),
            shifted,
            np.concatenate(targets),
            _numbers(targets),
            np.concatenate(spans_of),
            cropped,
        )

    def _corrupt(self, body: Tokens, draws: Draws, first: int) -> Corrupted:
        density, mean = self.section.noise_density, self.section.mean_noise_span_length
        if self.section.noise == "infilling":
            return infilling.corrupt(body, self.mask_id, density, mean, draws)
        return spans.corrupt(body, self.sentinels[first:], density, mean, draws)

    def _fitting(self, bodies: list[Tokens]) -> tuple[list[Tokens], int]:
        """The pieces, the last of them shortened by the few tokens that rounding makes too many."""
        if self.section.noise == "infilling":
            return bodies, 0
        density, mean = self.section.noise_density, self.section.mean_noise_span_length
        frame, bodies, cropped = self.source.frame.size, list(bodies), 0
        room = self.length - sum(spans.corrupted_length(len(body), density, mean) + frame for body in bodies)
        while room < 0:
            last = len(bodies[-1])
            shorter = last - 1
            before = spans.corrupted_length(last, density, mean) + frame
            after = spans.corrupted_length(shorter, density, mean) + frame if shorter else 0
            room += before - after
            bodies[-1] = bodies[-1][:shorter]
            cropped += 1
            if not shorter:
                bodies.pop()
        return bodies, cropped

    def assemble(self, rows: list[Noised]) -> Batch:
        """Pad rows: `input_ids`, `groups` [rows, L]; `decoder_input_ids`, `decoder_groups`, `targets`,
        `spans` [rows, M]. Tokens of a group see each other, −1 is padding."""
        width = self.length
        if not self.source.packing:
            width = rounded_up(max(len(row.inputs) for row in rows), width)
        long = rounded_up(max(len(row.targets) for row in rows))
        pieces = padded([row.input_pieces for row in rows], width, PADDING)
        said = padded([row.target_pieces for row in rows], long, PADDING)
        targets = padded([row.targets for row in rows], long, NO_TARGET)
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": padded([row.inputs for row in rows], width, self.pad_id),
            "groups": pieces if self.isolate else np.minimum(pieces, 0),
            "decoder_input_ids": padded([row.decoder_inputs for row in rows], long, self.pad_id),
            "decoder_groups": said if self.isolate else np.minimum(said, 0),
            "targets": targets,
            "spans": padded([row.spans for row in rows], long, NO_SPAN),
        }
        count = int((targets != NO_TARGET).sum())
        tokens = int((pieces != PADDING).sum()) + count
        extra = {"document_ids": pieces, "decoder_document_ids": said}
        return Batch(arrays, (count,), tokens, extra)


def _numbers(parts: list[Tokens]) -> Tokens:
    """The number of its part for each token of the parts, one behind the other."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
