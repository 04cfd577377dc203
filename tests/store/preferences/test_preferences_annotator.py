"""An annotator at work: order, blindness, repetitions, undo, and kills."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ranking_sessions import session_of

from workbench.errors import UsageError
from workbench.store.preferences.annotator import Annotator, Task
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.judgements import judgements
from workbench.store.preferences.log import effect, read_actions
from workbench.store.preferences.sessions import (
    Settings,
    add_answers,
    add_prompts,
    counts,
    create_session,
    delete_session,
    find_session,
    list_sessions,
    wanted_answers,
)


def following(annotator: Annotator) -> Task:
    task = annotator.next()
    assert task is not None
    return task


def test_items_come_in_order_are_skipped_when_done_and_go_on_after_a_restart(home: Path) -> None:
    with Database() as database:
        ann = Annotator(database, session_of(database, 4), "ann")
        first = following(ann)
        assert first.position == 0 and first.prompt.content == "prompt 0" and first.decision is None
        done = ann.commit(first, ranks=[1, 4, 2, 4], milliseconds=1500)
        assert done.decision is not None and done.decision.ranks == (1, 3, 2, 3)
        ann.commit(following(ann), "skip")
        assert following(ann).position == 2
        assert [task.position for task in (ann.next([following(ann).item + 1]),) if task] == [3]
    with Database() as database:
        ann = Annotator(database, find_session(database, "tests"), "ann")
        assert following(ann).position == 2
        last = ann.back()
        assert last is not None and last.position == 1
        before = ann.back(last)
        assert before is not None and before.decision is not None and before.decision.ranks == (1, 3, 2, 3)
        assert ann.back(before) is None and before.shown == first.shown
        ann.commit(before, ranks=[2, 1, 3, 4], milliseconds=500)
        again = ann.back()
        assert again is not None and again.position == 0 and again.decision is not None
        assert again.decision.ranks == (2, 1, 3, 4)
        progress = ann.progress()
        assert (progress.items, progress.done, progress.skipped, progress.left) == (4, 2, 1, 2)
        assert progress.seconds == 0.5 and progress.per_hour == 7200
        other = Annotator(database, ann.session, "bob")
        assert following(other).position == 0 and other.progress().seconds is None


def test_every_kind_of_decision_says_how_answers_compare(home: Path) -> None:
    with Database() as database:
        session = session_of(database, 5)
        ann = Annotator(database, session, "ann")
        ann.commit(following(ann), "best-only", best=2)
        ann.commit(following(ann), "tie")
        ann.commit(following(ann), "all-bad")
        ann.commit(following(ann), ranks=[3, 3, 3, 3])
        ann.commit(following(ann), "skip")
        said = judgements(database, session)
        assert [(one.kind, one.ranks) for one in said] == [
            ("best-only", (2, 2, 1, 2)),
            ("tie", (1, 1, 1, 1)),
            ("all-bad", (1, 1, 1, 1)),
            ("tie", (1, 1, 1, 1)),
        ]
        assert sorted(said[0].models) == ["a", "b", "c", "d"] and ann.next() is None
        task = ann.back()
        assert task is not None
        for ranks in (None, [], [1, 2, 3], [0, 1, 2, 3], [1, 2, 3, True]):
            with pytest.raises(UsageError, match="cannot rank 4 answers"):
                ann.commit(task, ranks=ranks)
        with pytest.raises(UsageError, match="cannot be number 4"):
            ann.commit(task, "best-only", best=4)
        with pytest.raises(UsageError, match="is no decision"):
            ann.commit(task, "note")
        for name in ("", " ", "a\nb", "x" * 101):
            with pytest.raises(UsageError, match="the name of an annotator"):
                Annotator(database, session, name)


def test_undo_is_a_record_that_outlives_restarts_and_can_be_redone(home: Path) -> None:
    with Database() as database:
        session = session_of(database, 3)
        ann = Annotator(database, session, "ann")
        task = ann.commit(following(ann), ranks=[1, 2, 3, 4])
        ann.commit(task, ranks=[4, 3, 2, 1])
        assert ann.note(task, "odd").notes == ("odd",)
        assert ann.flag(task, "rude").flagged and not ann.flag(task, on=False).flagged
    with Database() as database:
        ann = Annotator(database, find_session(database, "tests"), "ann")
        kinds = []
        for _ in range(3):
            undone = ann.undo()
            assert undone is not None
            kinds.append(undone.kind)
        assert kinds == ["flag", "flag", "note"] and ann.task(task.turn).notes == ()
        assert ann.undo() is not None
        restored = ann.task(task.turn).decision
        assert restored is not None and restored.ranks == (1, 2, 3, 4)
        assert ann.undo() is not None and ann.undo() is None and following(ann).position == 0
    with Database() as database:
        ann = Annotator(database, find_session(database, "tests"), "ann")
        redone = [ann.redo() for _ in range(2)]
        assert [action.ranks for action in redone if action] == [(1, 2, 3, 4), (4, 3, 2, 1)]
        assert (action := ann.undo()) is not None and action.ranks == (4, 3, 2, 1)
        bob = Annotator(database, ann.session, "bob")
        assert bob.undo() is None and bob.redo() is None
        # Something new, and what was undone before it stays undone.
        ann.commit(following(ann), "skip")
        assert ann.redo() is None
        assert [action.kind for action in read_actions(database, ann.session.id)][-1] == "skip"
        assert len(read_actions(database, ann.session.id, "ann")) == 5 + 5 + 2 + 1 + 1


def test_undo_and_redo_are_those_of_an_editor(home: Path) -> None:
    # Against the two stacks of every editor.
    rng = random.Random(0)
    with Database() as database:
        session = session_of(database, 40)
        ann = Annotator(database, session, "ann")
        done: list[int] = []
        undone: list[int] = []
        for _ in range(120):
            what = rng.choice(["do", "undo", "redo"])
            if what == "do":
                ann.note(ann.task((rng.randint(1, 40), 0)), "x")
                done.append(read_actions(database, session.id)[-1].id)
                undone.clear()
            elif what == "undo":
                action = ann.undo()
                assert (action.id if action else None) == (done[-1] if done else None)
                undone += done[-1:]
                done = done[:-1]
            else:
                action = ann.redo()
                assert (action.id if action else None) == (undone[-1] if undone else None)
                done += undone[-1:]
                undone = undone[:-1]
            assert [a.id for a in effect(read_actions(database, session.id)).holding] == done


def test_two_windows_of_one_annotator_see_each_other(home: Path) -> None:
    with Database() as one, Database() as two:
        session = session_of(one, 3)
        left, right = (Annotator(database, session, "ann") for database in (one, two))
        left.commit(following(left), ranks=[1, 2, 3, 4])
        assert following(right).position == 1
        assert right.undo() is not None and left.undo() is None
        assert following(left).position == 0


def test_answers_come_in_while_people_rank(home: Path) -> None:
    settings = Settings(("m", "n"), ({"temperature": 0.0}, {"temperature": 1.0}), criteria="be kind")
    with Database() as database, Database() as engine:
        session = create_session(database, "live", settings)
        prompts = [Prompt("one", "Be brief."), Prompt([{"role": "user", "content": "two"}], tools=[{"a": 1}])]
        numbers = add_prompts(database, session, prompts)
        assert add_prompts(database, session, prompts) == numbers
        ann = Annotator(database, session, "ann")
        assert ann.next() is None and session.settings.answers_per_prompt == 4
        wanted = wanted_answers(engine, session)
        assert len(wanted) == 8 and [w.prompt for w in wanted] == [numbers[0]] * 4 + [numbers[1]] * 4
        assert wanted_answers(engine, session, 3) == wanted[:3]
        for index, one in enumerate(wanted[:5]):
            answer = Answer(f"text {index} \ud800", one.model, one.sampling, one.sample, "stop", 12)
            item = add_answers(engine, session, one.prompt, [answer])
            assert (item is not None) == (index == 3)
        task = following(ann)
        assert task.prompt == prompts[0] and len(task.answers) == 4
        assert {a.content for a in task.answers} == {f"text {n} \ud800" for n in range(4)}
        assert {(a.model, a.sampling["temperature"]) for a in task.answers} == {
            (model, temperature) for model in "mn" for temperature in (0.0, 1.0)
        }
        assert task.answers[0].generated is not None and task.answers[0].finish_reason == "stop"
        # The same sample again changes nothing; what there is may be ranked when a model has failed.
        again = wanted[4]
        add_answers(engine, session, again.prompt, [Answer("other", again.model, again.sampling)])
        assert [w.model for w in wanted_answers(engine, session)] == ["m", "n", "n"]
        ann.commit(task, ranks=[1, 2, 3, 4])
        assert ann.next() is None
        two = [Answer("x", wanted[5].model, wanted[5].sampling)]
        assert add_answers(engine, session, again.prompt, two, complete=True) is not None
        assert following(ann).prompt == prompts[1] and len(following(ann).answers) == 2
        assert wanted_answers(engine, session) == []
        assert find_session(engine, "live").settings == settings


def test_sessions_are_listed_found_and_removed_with_all_they_hold(home: Path) -> None:
    with Database() as database:
        assert list_sessions(database) == []
        session_of(database, 2, name="old")
        new = session_of(database, 2, name="new")
        ann = Annotator(database, new, "ann")
        ann.commit(following(ann), "skip")
        ann.undo()
        assert [session.name for session in list_sessions(database)] == ["new", "old"]
        with pytest.raises(UsageError, match="no session called “odl”") as caught:
            find_session(database, "odl")
        assert caught.value.hint == "did you mean old?"
        with pytest.raises(UsageError, match="there is a session called"):
            session_of(database, 1, name="old")
        for wrong in ("", "../x", "a b"):
            with pytest.raises(UsageError, match="the name of a session"):
                create_session(database, wrong)
        for models in (("one",), tuple("abcdefghij")):
            with pytest.raises(UsageError, match="answers to a prompt"):
                create_session(database, "x", Settings(models))
        there = counts(database, new)
        assert (there.prompts, there.answers, there.items, there.decisions) == (2, 8, 2, {"ann": 1})
        delete_session(database, new)
        for table in ("prompts", "items", "actions"):
            column = "DISTINCT session"
            assert len(database.rows(f"SELECT {column} FROM {table}")) == (table != "actions")
        with pytest.raises(UsageError, match="no item 99"):
            Annotator(database, find_session(database, "old"), "ann").task((99, 0))


WORKER = """
import sys
from pathlib import Path
from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import find_session
database = Database(Path(sys.argv[1]))
annotator = Annotator(database, find_session(database, "tests"), sys.argv[2])
number = int(sys.argv[3])
while True:
    task = annotator.next() or annotator.back()
    annotator.note(annotator.commit(task, ranks=[1, 2], milliseconds=1), str(number))
    print(number, flush=True)
    number += 1
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_confirmed(home: Path) -> None:
    """Twenty kills of two annotators at once, each within the first few actions of a new process."""
    rng = random.Random(3)
    with Database() as database:
        session = session_of(database, 500, ("a", "b"))
        path = str(database.path)
    confirmed: dict[str, list[str]] = {"ann": [], "bob": []}
    for round_ in range(10):
        workers = {
            name: subprocess.Popen(
                [sys.executable, "-c", WORKER, path, name, str(1000 * round_)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in confirmed
        }
        first = {name: worker.stdout.readline().strip() for name, worker in workers.items() if worker.stdout}
        time.sleep(rng.random() * 0.02)
        for worker in workers.values():
            worker.send_signal(signal.SIGKILL)
        for name, worker in workers.items():
            rest, _ = worker.communicate()
            # A line that was cut off was not confirmed.
            whole = rest[: rest.rfind("\n") + 1].split()
            confirmed[name] += [first[name], *whole]
    with Database() as database:
        database.check()
        for name, numbers in confirmed.items():
            log = read_actions(database, session.id, name)
            noted = [str(action.value["text"]) for action in log if action.kind == "note"]
            assert len(numbers) >= 10 and set(numbers) <= set(noted)
            # At most one action of each process was done and not confirmed.
            assert len(noted) - len(numbers) <= 10
            decided = sum(action.kind == "rank" for action in log)
            assert len(noted) <= decided <= len(noted) + 10
