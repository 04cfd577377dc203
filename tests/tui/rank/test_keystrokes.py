"""Keys as a ranking: what each does, undone by forgetting it, and kept as a text."""

from __future__ import annotations

from itertools import product

import pytest

from workbench.store.preferences.log import Action
from workbench.tui.rank.keystrokes import Draft, from_value, of_decision, replay


@pytest.mark.parametrize(
    ("keys", "words", "ranks", "complete"),
    [
        ("", "", (None, None, None, None), False),
        ("2", "2 > …", (None, 1, None, None), False),
        ("214", "2 > 1 > 4 > 3", (2, 1, 4, 3), True),
        ("2143", "2 > 1 > 4 > 3", (2, 1, 4, 3), True),
        ("2=1", "2 = 1 > …", (1, 1, None, None), False),
        ("2=", "2 = …", (None, 1, None, None), False),
        ("2==1", "2 > 1 > …", (2, 1, None, None), False),
        ("2=1=4", "2 = 1 = 4 > 3", (1, 1, 2, 1), True),
        ("21=4=3", "2 > 1 = 4 = 3", (2, 1, 2, 2), True),
        ("214=3", "2 > 1 > 4 = 3", (2, 1, 3, 3), True),
        ("2142", "1 > 4 > 2 > 3", (1, 3, 4, 2), True),
        ("9", "", (None, None, None, None), False),
        ("22", "2 > …", (None, 1, None, None), False),
        ("=", "all are tied", (1, 1, 1, 1), True),
        ("==", "", (None, None, None, None), False),
        ("=3", "3 > …", (None, None, 1, None), False),
        ("x", "all are bad", (1, 1, 1, 1), True),
        ("2x", "all are bad", (1, 1, 1, 1), True),
        ("x1", "1 > …", (1, None, None, None), False),
        ("3b", "3 is best, the others are tied", (2, 2, 1, 2), True),
        ("31b", "3 is best, the others are tied", (2, 2, 1, 2), True),
        ("b", "", (None, None, None, None), False),
        ("3=1b", "3 = 1 > …", (1, None, 1, None), False),
        ("3b1", "3 > 1 > …", (2, None, 1, None), False),
    ],
)
def test_what_keys_amount_to(keys: str, words: str, ranks: tuple[int | None, ...], complete: bool) -> None:
    draft = replay(Draft(4), keys)
    assert (draft.words(), draft.ranks, draft.complete) == (words, ranks, complete)


def test_every_sequence_of_keys_is_a_draft_that_a_file_and_a_decision_can_hold() -> None:
    for keys in product("123=bx", repeat=4):
        draft = replay(Draft(3), keys)
        assert len(set(draft.placed)) == len(draft.placed)
        assert from_value(draft.as_value(), 3).ranks == draft.ranks
        if not draft.complete:
            continue
        ranks = [rank for rank in draft.ranks if rank is not None]
        assert len(ranks) == 3 and min(ranks) == 1
        kind = "tie" if draft.kind == "rank" and len(set(ranks)) == 1 else draft.kind
        action = Action(1, "eve", 1, 0, kind, {"ranks": ranks}, (7, 8, 9), None, None, None, "")
        assert of_decision(action, (7, 8, 9)).ranks == draft.ranks
        # The same decision, where the answers stand the other way round.
        assert of_decision(action, (9, 8, 7)).ranks == draft.ranks[::-1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"groups": [[0, 0]], "kind": "rank"},
        {"groups": [[5]], "kind": "rank"},
        {"groups": [], "kind": "best-only"},
        {"groups": [["a"]], "kind": "rank"},
        {"groups": [], "kind": "no such"},
    ],
)
def test_a_damaged_value_is_an_empty_draft(value: object) -> None:
    assert from_value(value, 3) == Draft(3)
