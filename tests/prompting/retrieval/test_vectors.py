"""Vectors in a collection's own file: exact, kept under keys, checked as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import DataError, ServerError
from workbench.prompting.retrieval import database
from workbench.prompting.retrieval.vectors import LocalVectors, text_key, unit_vectors, vector_key


@pytest.fixture
def store(tmp_path: Path) -> LocalVectors:
    path = tmp_path / "a.sqlite"
    with database.transaction(path, create=True):
        pass
    return LocalVectors(path)


def test_the_nearest_are_found_exactly_and_only_among_the_keys_asked_for(store: LocalVectors) -> None:
    draw = np.random.default_rng(0)
    vectors = unit_vectors(draw.normal(size=(300, 16)).tolist(), 300, 0, "e")
    keys = [f"key-{number:03d}" for number in range(300)]
    store.add(dict(zip(keys, vectors, strict=True)))
    asked = keys[::3]
    hits = store.index(asked).nearest(vectors[5], 7)
    expected = sorted(((float(vectors[n] @ vectors[5]), keys[n]) for n in range(0, 300, 3)), reverse=True)[:7]
    assert [key for key, _ in hits] == [key for _, key in expected]
    assert [score for _, score in hits] == pytest.approx([score for score, _ in expected], abs=1e-6)


def test_equal_vectors_come_in_order_of_keys(store: LocalVectors) -> None:
    one = unit_vectors([[1.0, 1.0]], 1, 0, "e")[0]
    store.add({key: one for key in ("c", "a", "b")})
    assert [key for key, _ in store.index("abc").nearest(one, 2)] == ["a", "b"]
    assert store.index([]).nearest(one, 2) == []


def test_vectors_are_known_kept_and_forgotten(store: LocalVectors) -> None:
    rows = unit_vectors([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 3, 2, "e")
    store.add({"a": rows[0], "b": rows[1]})
    store.add({"b": rows[2], "c": rows[1]})
    assert store.known(["a", "b", "x"]) == {"a", "b"}
    store.retain(["b"])
    assert store.known(["a", "b", "c"]) == {"b"}
    [(key, score)] = store.index(["b"]).nearest(rows[2], 1)
    assert key == "b" and score == pytest.approx(1.0)
    store.drop()
    assert store.known(["b"]) == set()


def test_vectors_of_different_lengths_are_an_error_rather_than_nonsense(store: LocalVectors) -> None:
    store.add({"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)})
    with pytest.raises(DataError, match="different lengths"):
        store.index(["a", "b"])


@pytest.mark.parametrize(
    ("vectors", "count", "dimension", "message"),
    [
        ([[1.0, 2.0]], 2, 0, "2 texts were sent to be embedded, and 1 vectors of 2 numbers"),
        ([[1.0], [1.0, 2.0]], 2, 0, "vectors of 1 and 2 numbers"),
        ([], 1, 0, "no numbers"),
        ([[]], 1, 0, "0 numbers"),
        ([[1.0, 2.0]], 1, 3, "have 2 numbers, those of the collection 3"),
        ([[1.0, float("nan")]], 1, 2, "not finite"),
    ],
)
def test_what_an_embedder_gives_is_checked(
    vectors: Sequence[Sequence[float]], count: int, dimension: int, message: str
) -> None:
    with pytest.raises(ServerError, match=message) as caught:
        unit_vectors(vectors, count, dimension, "the-embedder")
    assert caught.value.where == "the-embedder"


def test_vectors_have_length_one_and_zero_stays_zero() -> None:
    assert unit_vectors([[3.0, 4.0], [0.0, 0.0]], 2, 2, "e").tolist() == [
        pytest.approx([0.6, 0.8]),
        [0.0, 0.0],
    ]


def test_keys_depend_on_embedder_prefix_and_text() -> None:
    key = text_key("text")
    made = {vector_key("a", "", key), vector_key("b", "", key), vector_key("a", "p", key)}
    assert len(made) == 3 and vector_key("a", "", text_key("text")) in made
    assert all(len(one) == 36 for one in made)


def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"this is no database at all, whatever it is called" * 50)
    with pytest.raises(DataError, match="damaged"):
        LocalVectors(path).known(["a"])
