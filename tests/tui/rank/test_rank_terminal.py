"""Ranking in a real terminal by keys alone, and what a kill at any key leaves.

`RANK_RANKINGS` and `RANK_KILLS` make it as long as one likes: 50 and 20 take some minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ranking_screen import decisions
from ranking_sessions import session_of
from real_terminal import Terminal

from workbench.store.preferences.database import Database
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.ranker import Ranker

RANKINGS = int(os.environ.get("RANK_RANKINGS", "3"))
KILLS = int(os.environ.get("RANK_KILLS", "2"))

pytestmark = pytest.mark.slow


def opened(terminal: Callable[..., Terminal], *size: int, **environment: str) -> Terminal:
    """The interface with the first session open."""
    one = terminal(*size, **environment)
    one.see("3 Train")
    one.send("5")
    one.see("> tests")
    one.send("\r")
    one.until(lambda text: " done" in text and "prompt " in text, "the ranking screen")
    return one


class Oracle:
    """The same keys on a copy of the session, in this process, which nobody kills."""

    def __init__(self, home: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._desk = Desk()
        self._desk._database = Database(home / "copy.db")
        with Database(home / "copy.db") as database:
            session_of(database, 40)
        self.ranker = Ranker(self._desk, "tests", "copy")
        self._run(self.ranker.open())

    def _run(self, step: Any) -> None:
        self._loop.run_until_complete(step)

    def press(self, key: str) -> None:
        """What the ranking screen does with a key."""
        steps = {
            "\r": self.ranker.commit,
            "u": self.ranker.undo,
            "U": self.ranker.redo,
            "s": self.ranker.skip,
        }
        steps |= {"[": self.ranker.back, "]": self.ranker.forward}
        self._run(steps[key]() if key in steps else self.ranker.press(key))

    @property
    def seen(self) -> tuple[int, int, str]:
        """How many are done, which item is shown, and its order."""
        ranker = self.ranker
        assert ranker.standing is not None and ranker.task is not None
        return ranker.standing.decided, ranker.task.position, ranker.draft.words()

    def close(self) -> None:
        self._desk.close()
        self._loop.close()


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    made = Oracle(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])
def test_rankings_by_keys_alone(database: Database, terminal: Any, size: tuple[int, int]) -> None:
    session_of(database, RANKINGS)
    one = opened(terminal, *size)
    rng = random.Random(size[0])
    expected = []
    for number in range(RANKINGS):
        order = rng.sample("1234", 4)
        one.send("".join(order[: rng.choice((3, 4))]) + "\r")
        one.see(f"{number + 1} done" if number + 1 < RANKINGS else "are decided")
        expected.append(("rank", tuple(order.index(str(answer)) + 1 for answer in range(1, 5))))
    assert decisions() == expected
    one.send("q")
    assert one.wait_for_end() == 0


def test_a_kill_loses_at_most_the_key_that_is_not_shown(
    database: Database, terminal: Any, oracle: Oracle
) -> None:
    session_of(database, 40)
    rng = random.Random(11)
    one = opened(terminal)
    for kill in range(KILLS):
        for _ in range(rng.randrange(1, 6)):
            key = rng.choice("1234" * 3 + "\r" * 6 + "=bxsuuU[]")
            oracle.press(key)
            one.send(key)
            one.until(lambda text: _matches(text, oracle.seen), f"{key!r}: {oracle.seen}")
        # Half of the kills come before the screen could show the last key.
        key = rng.choice("1234\r\r\rus")
        before = oracle.seen
        oracle.press(key)
        one.send(key)
        if kill % 2:
            one.until(lambda text: _matches(text, oracle.seen), f"{key!r}: {oracle.seen}")
        os.kill(one.pid, signal.SIGKILL)
        assert one.wait_for_end() == -signal.SIGKILL
        one.hang_up()
        one = opened(terminal)
        either = (before, oracle.seen)
        one.until(partial(_matches_any, either), f"one of {either}")
        if kill % 2:
            assert _matches(one.text, oracle.seen), "what was shown is lost"
        elif not _matches(one.text, oracle.seen):
            one.send(key)
            one.until(lambda text: _matches(text, oracle.seen), "the key that was lost, again")


def _matches_any(expected: tuple[tuple[int, int, str], ...], text: str) -> bool:
    return any(_matches(text, one) for one in expected)


def _matches(text: str, expected: tuple[int, int, str]) -> bool:
    done, position, order = expected
    rows = text.split("\n")
    shown_order = rows[-2].strip()
    same_order = (
        shown_order.startswith(order) if order else "best first" in shown_order or "skipped" in shown_order
    )
    return f" {done} done " in text and f"› prompt {position} " in text and same_order


def test_two_annotators_at_once_and_undo_in_another_process(database: Database, terminal: Any) -> None:
    session_of(database, 4)
    eve = opened(terminal)
    bob = opened(terminal, 120, 40, WORKBENCH_ANNOTATOR="bob")
    for done, (keys_of_eve, keys_of_bob) in enumerate((("123\r", "432\r"), ("2=1=3=4\r", "1b\r")), 1):
        eve.send(keys_of_eve)
        bob.send(keys_of_bob)
        eve.see(f"eve · {done} done")
        bob.see(f"bob · {done} done")
    assert decisions(name="eve") == [("rank", (1, 2, 3, 4)), ("tie", (1, 1, 1, 1))]
    assert decisions(name="bob") == [("rank", (4, 3, 2, 1)), ("best-only", (1, 2, 2, 2))]
    eve.send("q")
    assert eve.wait_for_end() == 0
    again = opened(terminal)
    again.send("uu")
    again.see("undone: the ranking")
    again.see("1 > 2 > 3 > 4")
    assert decisions(name="eve") == [] and len(decisions(name="bob")) == 2
    again.send("U")
    again.see("1 done")
    assert decisions(name="eve") == [("rank", (1, 2, 3, 4))]


def test_what_waits_writes_nothing(database: Database, terminal: Any) -> None:
    session_of(database, 1)
    one = opened(terminal)
    one.send("123\r")
    one.see("All 1 are decided")
    for words in ("are decided", "> tests"):
        one.see(words)
        while one.read(0.7):
            pass
        # Longer than it takes to look for new answers, or sessions.
        assert one.read(2.5) == b""
        one.send("\x1b")
