"""Rankings from and for other programs: nothing is lost on the way there and back, nothing comes twice."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

from exchanged_records import Records, battle, everything, exported, written

from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.importing import import_file, session_name
from workbench.store.preferences.exchange.pairs import export_pairs
from workbench.store.preferences.judgements import decided, judgements
from workbench.store.preferences.sessions import (
    Settings,
    add_item,
    create_session,
)


def test_our_records_come_back_to_the_last_detail(database: Database, tmp_path: Path) -> None:
    session = everything(database)
    records = exported(database, session)
    kinds = {(record.get("kind"), record["ranks"] is None) for record in records}
    assert len(kinds) == 6 and sum(record.get("occasion", 0) for record in records) > 2
    assert any(record.get("notes") for record in records) and any(record.get("flags") for record in records)
    path = written(tmp_path / "out.jsonl", records)
    # Into its own session nothing is new; in another home everything is, and comes out the same.
    assert import_file(database, path, session="rich").decisions == 0
    assert exported(database, session) == records
    with Database(tmp_path / "other.db") as other:
        found = import_file(other, path, session="rich")
        assert found.items == 11 and found.decisions == len(judgements(database, session)) + sum(
            record.get("kind") == "skip" for record in records
        )
        again = import_file(other, path, session="rich")
        assert (again.items, again.decisions, again.records) == (0, 0, len(records))
        back = exported(other, found.session)
        key = lambda record: json.dumps(record, sort_keys=True)  # noqa: E731
        assert sorted(back, key=key) == sorted(records, key=key)
        assert len(judgements(other, found.session)) == len(judgements(database, session))


def test_foreign_rankings_keep_what_they_say_besides(database: Database, tmp_path: Path) -> None:
    records: Records = [
        {"prompt": "p", "completions": ["a", "b", "c", "d"], "ranks": [1, 2, 2, 4], "source": "x", "id": 5},
        {"prompt": "p", "completions": ["d", "c", "b", "a"], "ranks": [1, 2, 3, 4], "annotator": "ann"},
        {
            "prompt": "p",
            "completions": ["d", "c", "b", "a"],
            "ranks": [4, 3, 2, 1],
            "note": "n",
            "flags": ["f"],
        },
        {"prompt": "q", "completions": ["same", "same"], "ranks": [3, 3], "id": 5},
    ]
    path = written(tmp_path / "their file.v2.jsonl", records)
    found = import_file(database, path)
    assert found.session.name == session_name(path) == "their-file"
    assert (found.items, found.decisions) == (2, 4)
    back = exported(database, found.session)
    assert sorted(record["ranks"] for record in back) == [[1, 1], [1, 2, 2, 3], [1, 2, 3, 4], [4, 3, 2, 1]]
    first = next(record for record in back if record["ranks"] == [1, 2, 2, 3])
    assert first["source"] == "x" and first["source_id"] == 5 and first["annotator"] == "unknown"
    noted = next(record for record in back if record["notes"])
    assert noted["notes"][0]["text"] == "n" and noted["flags"][0]["reason"] == "f"


def test_pairs_are_all_that_are_not_tied_and_read_by_trl(database: Database, tmp_path: Path) -> None:
    session = create_session(database, "pairs", Settings(repeated=0.0))
    four = [Answer(text) for text in "abcd"]
    add_item(database, session, Prompt("p"), four)
    add_item(database, session, Prompt("q", "Be brief."), [Answer("a"), Answer("a", "m"), Answer("c")])
    ann = Annotator(database, session, "ann")
    task = ann.next()
    assert task is not None
    ann.commit(task, ranks=[2, 1, 2, 3])
    text = [answer.content for answer in task.answers]
    pairs = export_pairs(decided(database, session), margins=True)
    assert pairs.tied == 1 and pairs.identical == 0 and len(pairs.records) == 5
    assert {(r["chosen"], r["rejected"], r["margin"]) for r in pairs.records} == {
        (text[1], text[0], 1.0),
        (text[1], text[2], 1.0),
        (text[1], text[3], 2.0),
        (text[0], text[3], 1.0),
        (text[2], text[3], 1.0),
    }
    assert all(record["prompt"] == "p" for record in pairs.records)
    task = ann.next()
    assert task is not None
    ann.commit(task, ranks=[1, 2, 3])
    both = export_pairs(decided(database, session))
    assert both.identical == 1
    assert both.records[-1].keys() == {"prompt", "chosen", "rejected"}
    assert both.records[-1]["prompt"][0] == {"role": "system", "content": "Be brief."}
    assert both.records[-1]["rejected"][0]["role"] == "assistant"


def test_pairs_come_back(database: Database, tmp_path: Path) -> None:
    user, yes, no = (
        {"role": r, "content": c} for r, c in (("user", "q"), ("assistant", "y"), ("assistant", "n"))
    )
    records: Records = [
        {"prompt": "p", "chosen": "good", "rejected": "bad", "margin": 0.5, "source": "here"},
        {"prompt": "p", "chosen": "bad", "rejected": "good"},
        {"prompt": "p", "chosen": "good", "rejected": "worse"},
        {"prompt": [user], "chosen": [yes], "rejected": [no], "tools": [{"name": "t"}]},
    ]
    path = written(tmp_path / "pairs.jsonl", records)
    found = import_file(database, path)
    assert (found.items, found.decisions) == (3, 4) and import_file(database, path).decisions == 0
    key = lambda record: json.dumps(record, sort_keys=True)  # noqa: E731
    assert sorted(exported(database, found.session, "pairs"), key=key) == sorted(records, key=key)
    implicit = written(tmp_path / "implicit.jsonl", [{"chosen": [user, yes], "rejected": [user, no]}])
    (record,) = exported(database, import_file(database, implicit).session, "pairs")
    assert record == {"prompt": [user], "chosen": [yes], "rejected": [no]}


def test_arena_battles_come_back(database: Database, tmp_path: Path) -> None:
    winners = ["model_a", "model_b", "tie", "tie (bothbad)"]
    records = [battle(number, winner) for number, winner in enumerate(winners * 2)]
    path = written(tmp_path / "arena.jsonl", records)
    found = import_file(database, path)
    assert found.decisions == 8 and import_file(database, path).decisions == 0
    assert exported(database, found.session, "arena") == records
    said = judgements(database, found.session)
    assert [one.kind for one in said[:4]] == ["rank", "rank", "tie", "all-bad"]
    assert said[0].models == ("alpaca-13b", "vicuna-13b") and said[1].ranks == (2, 1)
    # A ranking of four is six battles.
    session = create_session(database, "four", Settings(repeated=0.0))
    add_item(database, session, Prompt("p", "s"), [Answer(text, text) for text in "abcd"])
    ann = Annotator(database, session, "ann")
    task = ann.next()
    assert task is not None
    ann.commit(task, ranks=[1, 2, 3, 4])
    battles = exported(database, session, "arena")
    shown = [answer.model for answer in task.answers]
    assert [(b["model_a"], b["model_b"]) for b in battles] == list(combinations(shown, 2))
    assert {b["winner"] for b in battles} == {"model_a"} and battles[0]["judge"] == "ann"
    assert [turn["role"] for turn in battles[0]["conversation_a"]] == ["system", "user", "assistant"]
