"""Where rows come from: the documents that their tokens are of, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.data import PackedRows
from workbench.data.framing import Frame
from workbench.data.pieces import PieceRows
from workbench.data.token_store import TokenStore, TokenWriter
from workbench.objectives.clm import CausalRows
from workbench.training.guarding.origins import origins


class Spelling:
    """A tokenizer whose texts are numbers and control characters."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return " ".join(map(str, ids)) + "\n\x1b[31m"


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """Twelve documents of unequal length, of two sources; each token is its document's number."""
    dtype = np.dtype(np.uint16)
    with TokenWriter(tmp_path / "store", dtype) as writer:
        for number in range(12):
            writer.add([number] * (3 + 5 * number % 17), number % 2, 10)
    return TokenStore(tmp_path / "store", "train", dtype.str, (1.0, 1.0))


@pytest.mark.parametrize("packing", [True, False])
def test_the_documents_of_a_row_are_those_of_its_tokens(packing: bool, store: TokenStore) -> None:
    packed = PackedRows(store, 8, packing=packing, seed=3)
    pieces = PieceRows(store, 8, stride=6, frame=Frame((), ()), packing=packing, seed=3)
    for epoch in range(2):
        for index in range(packed.rows_per_epoch(epoch)):
            row = packed.row(epoch, index)
            expected = dict.fromkeys(row.input_ids[row.document_ids >= 0].tolist())
            assert packed.documents_of(epoch, index) == list(expected)
        for index in range(pieces.rows_per_epoch(epoch)):
            [made] = pieces.rows(pieces.first_row(epoch) + index, 1)
            expected = dict.fromkeys(piece.document for piece in made.pieces)
            assert pieces.documents_of(epoch, index) == list(expected)


def test_rows_are_told_by_number_documents_sources_and_beginning(store: TokenStore) -> None:
    rows = CausalRows(PackedRows(store, 8, seed=3))
    told = origins(rows, 2, 4, Spelling(), ["a.txt"])
    assert [row["row"] for row in told] == [2, 3] and [row["epoch"] for row in told] == [0, 0]
    for row in told:
        first = row["documents"][0]
        assert row["sources"][0] == ("a.txt" if first % 2 == 0 else "source 1")
        assert row["begins"].split()[0] == str(first) and "\n" not in row["begins"]
