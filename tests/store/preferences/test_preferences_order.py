"""What to rank next: first what a reward model cannot tell apart."""

from __future__ import annotations

from workbench.store.preferences.order import most_uncertain_first


def test_items_come_by_how_uncertain_their_pairs_are() -> None:
    scores = {
        1: [9.0, -9.0],
        2: [0.1, 0.0],
        3: [2.0, 0.0],
        4: [1.0],
        5: [2.0, 2.0, -9.0],
        6: [5000.0, -5000.0],
        7: [0.1, 0.0],
    }
    assert most_uncertain_first(scores) == [2, 7, 3, 5, 1, 6, 4]
    assert most_uncertain_first({}) == []
