"""From key to database: what is shown is on disk, what is undone comes back, what fails changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ranking_screen import decisions
from ranking_sessions import session_of

from workbench.errors import StorageError, WorkbenchError
from workbench.store.preferences import database as database_module
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database, preferences_path
from workbench.store.preferences.exchange.importing import import_file
from workbench.store.preferences.sessions import add_item, delete_session, find_session
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.draft_file import typed_path
from workbench.tui.rank.ranker import Ranker


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    made.close()


async def begun(desk: Desk, name: str = "eve") -> Ranker:
    ranker = Ranker(desk, "tests", name)
    await ranker.open()
    return ranker


async def typed(ranker: Ranker, keys: str) -> None:
    """Keys of a ranking; a line break commits."""
    for key in keys:
        await (ranker.commit() if key == "\n" else ranker.press(key))


async def test_rank_tie_best_bad_skip(database: Database, desk: Desk) -> None:
    session_of(database, 6)
    ranker = await begun(desk)
    await typed(ranker, "3142\n=\n2b\nx\n")
    await ranker.skip()
    await typed(ranker, "12=3\n")
    assert decisions() == [
        ("rank", (2, 4, 1, 3)),
        ("tie", (1, 1, 1, 1)),
        ("best-only", (2, 1, 2, 2)),
        ("all-bad", (1, 1, 1, 1)),
        ("skip", ()),
        ("rank", (1, 2, 2, 3)),
    ]
    assert ranker.task is None and ranker.standing is not None
    assert (ranker.standing.decided, ranker.standing.left, ranker.standing.progress.skipped) == (6, 0, 1)


async def test_an_order_that_is_not_whole_is_not_committed(database: Database, desk: Desk) -> None:
    session_of(database, 2)
    ranker = await begun(desk)
    await ranker.commit()
    assert "best answer first" in ranker.said
    await typed(ranker, "2\n")
    assert ranker.said == "no place yet: 1, 3, 4" and decisions() == []
    await typed(ranker, "7")
    assert ranker.said == "there are 4 answers" and ranker.draft.words() == "2 > …"


async def test_undo_goes_through_keys_then_through_what_was_written_down(
    database: Database, desk: Desk
) -> None:
    session_of(database, 3)
    ranker = await begun(desk)
    await typed(ranker, "1234\n4321\n12")
    await ranker.undo()
    await ranker.undo()
    assert ranker.draft.words() == "" and len(decisions()) == 2
    await ranker.undo()
    # The undone decision stands there as it was, and is not on disk: enter makes it again.
    assert ranker.draft.words() == "4 > 3 > 2 > 1" and not ranker.settled and len(decisions()) == 1
    await ranker.undo()
    assert ranker.draft.words() == "1 > 2 > 3 > 4" and decisions() == []
    await ranker.undo()
    assert ranker.said == "there is nothing to undo"
    await ranker.redo()
    assert decisions() == [("rank", (1, 2, 3, 4))]
    assert ranker.draft.words() == "4 > 3 > 2 > 1" and not ranker.settled
    await typed(ranker, "4\n")
    assert decisions()[1:] == [("rank", (3, 2, 1, 4))]


async def test_redo_of_keys(database: Database, desk: Desk) -> None:
    session_of(database, 1)
    ranker = await begun(desk)
    await typed(ranker, "12")
    await ranker.undo()
    await ranker.undo()
    await ranker.redo()
    await ranker.redo()
    assert ranker.draft.words() == "1 > 2 > …"
    await ranker.undo()
    await typed(ranker, "3")
    await ranker.redo()
    assert ranker.draft.words() == "1 > 3 > …" and ranker.said == "there is nothing to redo"


async def test_everything_is_there_again_after_a_kill(database: Database, desk: Desk) -> None:
    session_of(database, 3)
    ranker = await begun(desk)
    await typed(ranker, "1234\n3=1")
    again = await begun(desk)
    assert again.task is not None and ranker.task is not None and again.task.turn == ranker.task.turn
    assert again.draft.words() == "3 = 1 > …"
    await again.undo()
    assert again.draft.words() == "3 = …"
    for _ in range(3):
        await again.undo()
    assert again.draft.words() == "1 > 2 > 3 > 4" and decisions() == []
    # What was undone is still shown by the next.
    assert (await begun(desk)).draft.words() == "1 > 2 > 3 > 4"
    # Another annotator sees none of it.
    assert (await begun(desk, "bob")).draft.words() == ""


async def test_keys_of_a_decided_item_are_of_the_past(database: Database, desk: Desk) -> None:
    session_of(database, 2)
    ranker = await begun(desk)
    await typed(ranker, "123")
    other = await begun(desk)
    await typed(other, "\n")
    assert (await begun(desk)).draft.words() == "" and len(decisions()) == 1


async def test_keys_are_of_the_answers_as_they_stood(database: Database, desk: Desk) -> None:
    session = session_of(database, 1)
    await typed(await begun(desk), "12")
    path = typed_path(session, "eve")
    kept = json.loads(path.read_text())
    kept["typed"][0]["shown"].reverse()
    path.write_text(json.dumps(kept))
    assert (await begun(desk)).draft.words() == ""


async def test_a_decision_from_a_file_is_of_the_same_answers_here(
    database: Database, desk: Desk, tmp_path: Path
) -> None:
    texts = ["best", "second", "third", "worst"]
    # As many as make it all but sure that one is shown in another order than the file's.
    records = [
        {"prompt": f"p{n}", "completions": texts, "ranks": [1, 2, 3, 4], "annotator": "eve"} for n in range(4)
    ]
    path = tmp_path / "tests.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    import_file(database, path)
    ranker = await begun(desk)
    for _ in records:
        await ranker.back()
        assert ranker.task is not None and ranker.settled
        places = {
            answer.content: rank for answer, rank in zip(ranker.task.answers, ranker.draft.ranks, strict=True)
        }
        assert places == dict(zip(texts, (1, 2, 3, 4), strict=True))


async def test_back_and_deciding_anew(database: Database, desk: Desk) -> None:
    session_of(database, 3)
    ranker = await begun(desk)
    await typed(ranker, "1234\n4321\n21")
    waiting = ranker.task
    await ranker.back()
    assert ranker.draft.words() == "4 > 3 > 2 > 1" and ranker.settled
    await ranker.back()
    await ranker.back()
    assert ranker.said == "there is nothing before" and ranker.draft.words() == "1 > 2 > 3 > 4"
    # Nothing was changed, so enter writes nothing and goes on to where it was, its keys kept.
    await typed(ranker, "\n")
    assert ranker.task == waiting and ranker.draft.words() == "2 > 1 > …" and len(decisions()) == 2
    await ranker.back()
    await typed(ranker, "4\n")
    assert decisions() == [("rank", (1, 2, 3, 4)), ("rank", (3, 2, 1, 4))]
    assert ranker.draft.words() == "2 > 1 > …"


async def test_flags_and_notes(database: Database, desk: Desk) -> None:
    session_of(database, 1)
    ranker = await begun(desk)
    await typed(ranker, "21")
    await ranker.flag()
    await ranker.note("both are wrong")
    assert ranker.flagged and ranker.notes == ("both are wrong",)
    assert ranker.draft.words() == "2 > 1 > …", "what is typed stays"
    assert ranker.standing is not None and ranker.standing.progress.flagged == 1
    await ranker.flag()
    assert not ranker.flagged
    for _ in "21":
        await ranker.undo()
    for _ in range(3):
        await ranker.undo()
    assert not ranker.flagged and ranker.notes == ()


async def test_a_repetition_cannot_be_told_from_others(database: Database, desk: Desk) -> None:
    session_of(database, 40, repeated=0.5)
    ranker = await begun(desk)
    seen, left = [], []
    while ranker.task is not None:
        assert ranker.standing is not None
        # What was said of it the first time is not shown again.
        assert not ranker.flagged and ranker.notes == () and ranker.draft.words() == ""
        seen.append(ranker.task.turn)
        left.append((ranker.standing.decided, ranker.standing.left))
        await ranker.flag()
        assert ranker.flagged
        await ranker.note("seen")
        assert ranker.notes == ("seen",)
        await typed(ranker, "1234\n")
    assert sum(occasion for _, occasion in seen) > 5
    # Both numbers move by one each time, whatever it was.
    assert left == [(number, left[0][1] - number) for number in range(len(seen))]


async def test_a_full_disk_loses_nothing_that_was_shown(database: Database, desk: Desk) -> None:
    session_of(database, 3)
    ranker = await begun(desk)
    await typed(ranker, "1234\n43")
    limit = await desk.do(lambda db: db.row("PRAGMA page_count"))
    assert limit is not None
    # As many pages as there are: what asks for another meets SQLITE_FULL.
    await desk.do(lambda db: db.rows(f"PRAGMA max_page_count = {limit[0]}"))
    with pytest.raises(StorageError, match="the disk is full"):
        for _ in range(200):
            await ranker.note("x" * 2000)
    assert ranker.draft.words() == "4 > 3 > …"
    # The connection is opened anew, without the limit: the same key does it now.
    await typed(ranker, "21\n")
    assert decisions() == [("rank", (1, 2, 3, 4)), ("rank", (4, 3, 2, 1))]


async def test_a_locked_database_is_said_and_tried_again(
    database: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    session_of(database, 2)
    ranker = await begun(desk)
    await typed(ranker, "1234")
    with database.transaction(), pytest.raises(StorageError, match="another process has been writing"):
        await ranker.commit()
    assert ranker.draft.words() == "1 > 2 > 3 > 4" and decisions() == []
    await ranker.commit()
    assert decisions() == [("rank", (1, 2, 3, 4))]


async def test_a_damaged_file_is_said(database: Database, desk: Desk) -> None:
    session_of(database, 2)
    database.close()
    ranker = await begun(desk)
    await typed(ranker, "12")
    await desk.do(lambda db: db.close())
    for path in preferences_path().parent.glob("preferences.db*"):
        path.unlink()
    preferences_path().write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkbenchError):
        await ranker.skip()
    with pytest.raises(StorageError, match="damaged or no database"):
        await ranker.skip()
    assert ranker.draft.words() == "1 > 2 > …"


async def test_keys_that_cannot_be_kept_still_count(database: Database, desk: Desk) -> None:
    session = session_of(database, 1)
    folder = typed_path(session, "eve").parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file stands here")
    ranker = await begun(desk)
    await typed(ranker, "12")
    assert ranker.unkept is not None and ranker.draft.words() == "1 > 2 > …"
    await typed(ranker, "34\n")
    assert decisions() == [("rank", (1, 2, 3, 4))]


@pytest.mark.parametrize("text", ["", "{", '{"typed": 3}', "[]"])
async def test_a_damaged_file_of_keys_is_none(database: Database, desk: Desk, text: str) -> None:
    session = session_of(database, 1)
    path = typed_path(session, "eve")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert (await begun(desk)).draft.words() == ""


async def test_answers_that_come_in_are_found(database: Database, desk: Desk) -> None:
    session = session_of(database, 0)
    ranker = await begun(desk)
    assert ranker.task is None
    await ranker.press("1")
    add_item(database, session, Prompt("new"), [Answer("a", "a"), Answer("b", "b")])
    await ranker.poll()
    assert ranker.task is not None and ranker.task.prompt.content == "new"


async def test_a_session_that_was_made_anew_is_another(database: Database, desk: Desk) -> None:
    session_of(database, 1)
    ranker = await begun(desk)
    await typed(ranker, "12")
    delete_session(database, find_session(database, "tests"))
    with pytest.raises(WorkbenchError):
        await typed(ranker, "34\n")
    session_of(database, 1)
    assert (await begun(desk)).draft.words() == ""


async def test_two_annotators_at_once(database: Database, desk: Desk) -> None:
    session_of(database, 3)
    other_desk = Desk()
    eve, bob = await begun(desk), await begun(other_desk, "bob")
    for keys_of_eve, keys_of_bob in zip("1234\n2134\n", "4321\n=\nb12", strict=False):
        await typed(eve, keys_of_eve)
        await typed(bob, keys_of_bob)
    await eve.undo()
    assert decisions(name="eve") == [("rank", (1, 2, 3, 4))]
    assert decisions(name="bob") == [("rank", (4, 3, 2, 1)), ("tie", (1, 1, 1, 1))]
    other_desk.close()
