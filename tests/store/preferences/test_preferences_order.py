"""How answers stand, and what comes again: by the seed alone, blind, and as it was before."""

from __future__ import annotations

import random
from pathlib import Path

from ranking_sessions import session_of

from workbench.store.preferences.annotator import Annotator, Task
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.log import append
from workbench.store.preferences.order import is_repeated, shown_order
from workbench.store.preferences.sessions import (
    Settings,
    add_answers,
    add_prompts,
    create_session,
    wanted_answers,
)


def following(annotator: Annotator) -> Task:
    task = annotator.next()
    assert task is not None
    return task


def orders(models: str, seed: int, name: str, prompts: int = 400) -> list[str]:
    """Which model stands where, prompt by prompt."""
    answers = {number: Answer("", model) for number, model in enumerate(models)}
    shown = (shown_order(answers, Prompt(str(number)), seed, name) for number in range(prompts))
    return ["".join(answers[number].model for number in order) for order in shown]


def test_sides_are_drawn_for_each_annotator_and_told_again_from_the_seed() -> None:
    of_ann = orders("ab", 7, "ann")
    # Whatever the order in which the answers came in.
    assert of_ann == orders("ab", 7, "ann") == orders("ba", 7, "ann")
    # Binomial(400, 1/2): five standard deviations are 50.
    assert 150 < of_ann.count("ab") < 250
    same = sum(ours == theirs for ours, theirs in zip(of_ann, orders("ab", 7, "bob"), strict=True))
    assert 150 < same < 250
    assert set(orders("abcd", 7, "ann")) == {orders("abcd", seed, "ann", 1)[0] for seed in range(400)}
    assert len(set(orders("abcd", 7, "ann"))) == 24


def test_the_order_follows_from_the_seed_and_not_from_what_came_first(home: Path) -> None:
    settings = Settings(("m", "n"), ({"temperature": 0.5}, {"temperature": 1.0}), samples=2, repeated=0.0)
    rng = random.Random(0)
    seen = []
    with Database() as database:
        for name in ("one", "two", "three"):
            session = create_session(database, name, settings, seed=3)
            add_prompts(database, session, [Prompt(f"prompt {number}") for number in range(6)])
            wanted = wanted_answers(database, session)
            rng.shuffle(wanted)
            for one in wanted:
                answer = Answer("text", one.model, one.sampling, one.sample)
                add_answers(database, session, one.prompt, [answer])
            ann = Annotator(database, session, "ann")
            tasks = [ann.task((item, 0)) for item in sorted(ann._items)]
            seen.append(
                {
                    str(task.prompt.content): [(a.model, a.sampling, a.sample) for a in task.answers]
                    for task in tasks
                }
            )
    assert len(seen[0]) == 6 and seen[0] == seen[1] == seen[2]


def test_what_was_shown_before_stays_as_it_was(home: Path) -> None:
    with Database() as database:
        session = session_of(database, 1)
        task = following(Annotator(database, session, "ann"))
        other = (*task.shown[1:], task.shown[0])
        # Another version drew the sides in another way, and somebody flagged what they saw.
        with database.transaction():
            append(database, session.id, "ann", "flag", item=task.item, value={"on": True}, shown=other)
        ann = Annotator(database, session, "ann")
        assert ann.task(task.turn).shown == other and ann.task((task.item, 1)).shown == other[::-1]
        assert (
            Annotator(database, session, "bob").task((task.item, 1)).shown
            == (Annotator(database, session, "bob").task(task.turn).shown[::-1])
        )


def test_one_item_in_twenty_comes_again_later_with_its_sides_swapped(home: Path) -> None:
    for share, number in ((0.05, 20), (0.1, 40), (0.0, 0)):
        assert sum(is_repeated(position, 7, "ann", share) for position in range(400)) == number
    with Database() as database:
        ann = Annotator(database, session_of(database, 60, ("a", "b"), repeated=0.05), "ann")
        turns: list[Task] = []
        while (task := ann.next()) is not None:
            turns.append(task)
            ann.commit(task, ranks=[1, 2])
        assert len(turns) == 63 and ann.progress().repeated == 3 and ann.progress().done == 60
        for number, task in enumerate(turns):
            if task.occasion:
                first = next(n for n, other in enumerate(turns) if other.item == task.item)
                assert turns[first].shown == task.shown[::-1]
                # Not less than 8 others between them, or 3 at the end.
                assert number - first > 8 or (number - first > 3 and number >= 60)
        # A skipped item does not come again.
        bob = Annotator(database, ann.session, "bob")
        while (task := bob.next()) is not None:
            bob.commit(task, "skip")
        assert bob.progress().repeated == 0
