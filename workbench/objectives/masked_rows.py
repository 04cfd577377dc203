"""Rows of masked text: framed pieces or pairs, their masks drawn by the number of the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.corruption import masking, sentence_pairs
from workbench.data.draws import Draws
from workbench.data.rows import NO_TARGET, PADDING
from workbench.objectives.base import Batch
from workbench.objectives.padding import padded, rounded_up
from workbench.objectives.piece_batches import PieceBatches

if TYPE_CHECKING:
    from workbench.data.corruption.words import WordTable
    from workbench.data.pieces import PieceRow
    from workbench.recipe import ObjectiveSection

MASKS, PAIRS = 11, 12
"""What a draw is for, so that no two are alike."""

Tokens = NDArray[np.int64]


class Framed(NamedTuple):
    """A row before masking, each [n]: tokens with their frames, the piece each is in (counted in the row),
    positions, segments; `label` says whether B follows A, −1 where there is no pair."""

    tokens: Tokens
    pieces: Tokens
    positions: Tokens
    segments: Tokens
    label: int = -1


class Row(NamedTuple):
    """A row after masking; `uniforms` [n] has a number in [0, 1) for each selected place."""

    framed: Framed
    masked: masking.Masked
    uniforms: NDArray[np.float64]


@dataclass(frozen=True)
class MaskedRows(PieceBatches):
    """Batches of masked rows, for `mlm` and for the generator of `rtd`.

    `isolate`: each piece sees itself alone and has positions of its own; `pairs`: a row is a pair of
    segments; `draw_uniforms`: a random number for each selected place goes with the row.
    """

    table: WordTable
    replacements: Tokens
    section: ObjectiveSection
    mask_id: int
    pad_id: int
    seed: int
    side: int
    isolate: bool
    shares: tuple[float, float]
    pairs: bool = False
    draw_uniforms: bool = False

    def report(self) -> dict[str, Any]:
        """See `PieceRows.report`; a pair has one more special token in its frame."""
        report = super().report()
        if self.pairs:
            report["padding"] -= report["rows"]
            places = report["rows"] * self.length
            report["efficiency"] = round(1 - report["padding"] / places, 6) if places else 0.0
        return report

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, masked."""
        return self.assemble([self.mask(row) for row in self.source.rows(start, count)])

    def frame(self, row: PieceRow) -> Framed:
        """A row with its frames, nothing hidden."""
        prefix, suffix = self.source.frame.prefix, self.source.frame.suffix
        if self.pairs:
            draws = Draws(self.seed, PAIRS, self.side, row.index)
            pair = sentence_pairs.pair(row, self.source, self.table.ends_sentence, draws)
            parts = [np.array([*prefix, *pair.first, *suffix]), np.array([*pair.second, *suffix])]
            tokens = np.concatenate(parts)
            segments = np.repeat(np.arange(2), [len(part) for part in parts])
            zeros = np.zeros(len(tokens), np.int64)
            return Framed(tokens, zeros, np.arange(len(tokens)), segments, pair.label)
        parts = [np.array([*prefix, *piece.tokens, *suffix]) for piece in row.pieces]
        tokens = np.concatenate(parts)
        sizes = [len(part) for part in parts]
        positions = np.concatenate([np.arange(size) for size in sizes])
        return Framed(
            tokens,
            np.repeat(np.arange(len(parts)), sizes),
            positions if self.isolate else np.arange(len(tokens)),
            np.zeros(len(tokens), np.int64),
        )

    def may_hide(self, framed: Framed) -> NDArray[np.bool_]:
        """Which tokens [n] are text."""
        return self.table.ordinary[framed.tokens]

    def mask(self, row: PieceRow) -> Row:
        """Frame a row and hide some of it, by its number."""
        framed, draws = self.frame(row), Draws(self.seed, MASKS, self.side, row.index)
        may_hide = self.may_hide(framed)
        words = self.table.words(framed.tokens, may_hide) if self.section.whole_word_mask else None
        selected = masking.select(may_hide, self.section.mlm_probability, draws, words)
        mask_share, random_share = self.shares
        masked = masking.hide(
            framed.tokens,
            selected,
            draws,
            mask_id=self.mask_id,
            replacements=self.replacements,
            mask_share=mask_share,
            random_share=random_share,
        )
        uniforms = np.zeros(len(selected))
        if self.draw_uniforms:
            uniforms[selected] = draws.uniform(int(selected.sum()))
        return Row(framed, masked, uniforms)

    def mask_only(self, framed: Framed, place: int) -> Row:
        """A row with one token hidden, by the mask."""
        input_ids = framed.tokens.copy()
        targets = np.full_like(input_ids, NO_TARGET)
        input_ids[place], targets[place] = self.mask_id, framed.tokens[place]
        return Row(framed, masking.Masked(input_ids, targets), np.zeros(len(input_ids)))

    def assemble(self, rows: list[Row]) -> Batch:
        """Pad rows to one length. Arrays [rows, L]: `input_ids`, `targets`, `position_ids`, `groups`
        (tokens of a group see each other; −1 is padding), for pairs `token_type_ids` and `next_sentence`
        [rows], for `rtd` `uniforms`. `extra["document_ids"]` counts the pieces in a row."""
        width = self.length
        if not self.source.packing:
            width = rounded_up(max(len(row.framed.tokens) for row in rows), width)
        pieces = padded([row.framed.pieces for row in rows], width, PADDING)
        targets = padded([row.masked.targets for row in rows], width, NO_TARGET)
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": padded([row.masked.input_ids for row in rows], width, self.pad_id),
            "targets": targets,
            "position_ids": padded([row.framed.positions for row in rows], width, 0),
            "groups": pieces if self.isolate else np.minimum(pieces, 0),
        }
        num_tokens = int((pieces != PADDING).sum())
        counts = [int((targets != NO_TARGET).sum())]
        if self.pairs:
            arrays["token_type_ids"] = padded([row.framed.segments for row in rows], width, 0)
            arrays["next_sentence"] = np.array([row.framed.label for row in rows], np.int64)
            counts.append(len(rows))
        if self.draw_uniforms:
            arrays["uniforms"] = padded([row.uniforms for row in rows], width, 0.0)
            counts.append(num_tokens)
        return Batch(arrays, tuple(counts), num_tokens, {"document_ids": pieces})
