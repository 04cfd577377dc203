"""Rankings from and for other programs: nothing is lost on the way there and back, nothing comes twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import DataError
from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.arena import export_arena
from workbench.store.preferences.exchange.argilla import export_argilla
from workbench.store.preferences.exchange.importing import Format, import_file, session_name
from workbench.store.preferences.exchange.pairs import export_pairs
from workbench.store.preferences.exchange.rankings import export_rankings
from workbench.store.preferences.exchange.records import write_records
from workbench.store.preferences.judgements import decided, judgements
from workbench.store.preferences.sessions import Session, Settings, add_item, create_session, find_session

Records = list[dict[str, Any]]


@pytest.fixture
def database(home: Path) -> Iterable[Database]:
    with Database() as opened:
        yield opened


def written(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    write_records(path, records)
    return path


def exported(database: Database, session: Session, format: Format = "rankings") -> Records:
    every = decided(database, session, undecided=True)
    if format == "pairs":
        return export_pairs(every).records
    if format == "rankings":
        return list(export_rankings(every, session))
    return list(export_arena(every) if format == "arena" else export_argilla(every))


def everything(database: Database) -> Session:
    """A session with every kind of action, by two annotators, and every kind of content."""
    session = create_session(database, "rich", Settings(repeated=0.5), seed=3)
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    prompts = [
        Prompt("plain \ud800 “text”"),
        Prompt([*turns, {"role": "user", "content": "well"}], tools=[{"type": "function"}]),
        *(Prompt(f"prompt {n}", system="Be brief.") for n in range(8)),
    ]
    for number, prompt in enumerate(prompts):
        answers = [
            Answer(f"text {number} {n}", f"model-{n}", {"temperature": n / 2}, 0, "stop", 7 * n, 1.5e9 + n)
            for n in range(2 + number % 3)
        ]
        add_item(database, session, prompt, answers)
    for name in ("ann", "bob"):
        annotator = Annotator(database, session, name)
        while (task := annotator.next()) is not None:
            count = len(task.shown)
            kind = ("rank", "best-only", "tie", "all-bad", "skip")[(task.position + len(name)) % 5]
            if name == "bob" and task.position == 9:
                annotator.note(task, "too hard")
                break
            task = annotator.commit(task, kind, ranks=[*range(1, count), 1], best=0, milliseconds=1234)
            if task.position % 4 == 0 and not task.occasion:
                annotator.flag(task, "why not")
                annotator.note(task, "first\nline")
                annotator.note(task, "second")
    add_item(database, session, Prompt("nobody saw this"), [Answer("x"), Answer("y")])
    return session


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


def battle(number: int, winner: str) -> dict[str, Any]:
    def conversation(side: str) -> Records:
        said = [
            ("user", f"question {number}"),
            ("assistant", f"{side}1"),
            ("user", "and?"),
            ("assistant", f"{side}2"),
        ]
        return [{"role": role, "content": content} for role, content in said[: 2 + 2 * (number % 2)]]

    return {
        "question_id": f"id{number}",
        "model_a": "alpaca-13b",
        "model_b": "vicuna-13b",
        "winner": winner,
        "judge": f"arena_user_{number % 2}",
        "conversation_a": conversation("a"),
        "conversation_b": conversation("b"),
        "turn": 1 + number % 2,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1322,
        "openai_moderation": {"flagged": False},
    }


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


FIELDS = {"prompt": "p", "response-1": "one", "response-2": "two", "response-3": "three"}


@pytest.mark.parametrize(
    "said",
    [
        # Argilla 2: an order, by person.
        {
            "responses": {
                "preference": [{"value": ["response-2", "response-1", "response-3"], "user_id": "u"}]
            }
        },
        # Feedback data sets before: ranks, which may be tied; a draft is no answer.
        {
            "responses": [
                {
                    "user_id": "u",
                    "status": "submitted",
                    "values": {
                        "preference": {
                            "value": [
                                {"rank": 2, "value": "response-1"},
                                {"rank": 1, "value": "response-2"},
                                {"rank": 3, "value": "response-3"},
                            ]
                        }
                    },
                },
                {"user_id": "v", "status": "draft", "values": {"preference": {"value": []}}},
            ]
        },
        # A rating of each, the more the better, next to one of the whole.
        {"responses": {f"rating_{n}": [{"value": v, "user_id": "u"}] for n, v in ((1, 3), (2, 5), (3, 1))}},
        {
            "suggestions": {
                f"quality-response-{n}": {"value": v, "agent": "u"} for n, v in ((1, 3), (2, 5), (3, 1))
            }
        },
        {
            "suggestions": [
                {
                    "question_name": "preference",
                    "value": ["response-2", "response-1", "response-3"],
                    "agent": "u",
                }
            ]
        },
    ],
)
def test_argilla_is_read_in_all_its_shapes(database: Database, tmp_path: Path, said: dict[str, Any]) -> None:
    record = {"id": "1", "fields": FIELDS, "metadata": {"models": ["a", "b", "c"]}, **said}
    path = tmp_path / "argilla.json"
    path.write_text(json.dumps([record]))
    found = import_file(database, path)
    assert (found.decisions, import_file(database, path).decisions) == (1, 0)
    (one,) = judgements(database, found.session)
    assert one.ranks == (2, 1, 3) and one.models == ("a", "b", "c") and one.annotator == "u"
    (whole,) = exported(database, found.session)
    assert whole["argilla"]["id"] == "1" and whole["completions"] == ["one", "two", "three"]


def test_argilla_records_come_back(database: Database, tmp_path: Path) -> None:
    session = everything(database)
    records = exported(database, session, "argilla")
    ties = [rank["rank"] for rank in records[3]["responses"][0]["values"]["ranking"]["value"]]
    assert records[3]["fields"].keys() == {"prompt", "response-1", "response-2"} and len(ties) == 2
    path = written(tmp_path / "argilla.jsonl", records)
    assert import_file(database, path, session="rich").decisions == 0
    with Database(tmp_path / "other.db") as other:
        found = import_file(other, path, session="rich")
        ours, theirs = exported(database, session), exported(other, found.session)
        # Argilla has no place for what nobody decided.
        key = lambda record: record["id"]  # noqa: E731
        decisions = [record for record in ours if record.get("kind")]
        assert sorted(theirs, key=key) == sorted(decisions, key=key)
    # What was changed there is another decision of the same person.
    changed = next(r for r in records if r["responses"] and r["responses"][0]["status"] == "submitted")
    for place, rank in enumerate(changed["responses"][0]["values"]["ranking"]["value"]):
        rank["rank"] = place + 1
    changed["responses"][0]["user_id"] = "eve"
    assert import_file(database, written(path, [changed]), session="rich").decisions == 1
    assert [one.kind for one in judgements(database, session) if one.annotator == "eve"] == ["rank"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "p"', "no JSON"),
        ("[1]", "no JSON object"),
        ('{"prompt": "p", "completions": ["a", "b"], "ranks": [1, NaN]}', "NaN is no number"),
        ('{"text": "p"}', "those of no file of preferences"),
        ('{"completions": ["a", "b"], "prompt": " ", "ranks": [1, 2]}', "“prompt” is empty"),
        ('{"completions": ["a", "b"], "prompt": null, "ranks": [1, 2]}', "“prompt” is missing"),
        ('{"completions": ["a"], "prompt": "p", "ranks": [1]}', "1 answer cannot be ranked"),
        ('{"completions": "ab", "prompt": "p", "ranks": [1]}', "“completions” is no list"),
        ('{"completions": ["a", 3], "prompt": "p", "ranks": [1, 2]}', "answer 2 is neither"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1]}', r"“ranks” is \[1\] for 2 answers"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 1.5]}', "“ranks” is"),
        ('{"completions": ["a", "a"], "prompt": "p", "ranks": [1, 2]}', "have different ranks"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 2], "kind": "x"}', "“kind” is 'x'"),
        ('{"completions": ["a", "b"], "prompt": "p", "kind": "rank"}', "there are no “ranks”"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 2], "shown": [0, 0]}', "“shown”"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 2], "models": ["a"]}', "“models”"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 2], "sampling": [1, 2]}', "not one of"),
        ('{"completions": ["a", "b"], "prompt": "p", "ranks": [1, 2], "occasion": "x"}', "not one of"),
        ('{"prompt": "p", "chosen": "a", "rejected": "a"}', "are the same"),
        ('{"chosen": "a", "rejected": "b"}', "“prompt” is missing"),
        ('{"winner": "me", "conversation_a": [], "conversation_b": []}', "“winner” is 'me'"),
        ('{"winner": "tie", "conversation_a": [], "conversation_b": []}', "neither a text nor messages"),
        ('{"fields": {"a": "x"}}', "none of the fields a is a prompt"),
        ('{"fields": {"prompt": "x", "b": "y", "c": "z"}, "responses": 3}', "neither an object nor a list"),
        (
            '{"fields": {"prompt": "x", "b": "y", "c": "z"}, "responses": {"r": [{"value": ["b", "q"]}]}}',
            "“q” names none of the fields b, c",
        ),
    ],
)
def test_a_bad_line_is_named_and_nothing_of_its_file_is_added(
    database: Database, tmp_path: Path, line: str, said: str
) -> None:
    good = {
        "{": '{"prompt": "p", "completions": ["a", "b"], "ranks": [1, 2]}',
        "c": '{"prompt": "p", "chosen": "a", "rejected": "b"}',
        "w": json.dumps(battle(0, "tie")),
        "f": json.dumps({"fields": FIELDS}),
    }
    kind = "c" if '"chosen"' in line else "w" if '"winner"' in line else "f" if '"fields"' in line else "{"
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{good[kind]}\n\n{line}\n" if '"text"' not in line else f"\n\n{line}\n")
    with pytest.raises(DataError, match=said) as caught:
        import_file(database, path, session="bad")
    assert caught.value.where == f"{path}:3" and "\n" not in caught.value.message
    assert database.rows("SELECT count(*) FROM sessions") == [(0,)]


def test_files_without_records_are_said(database: Database, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "broken.json").write_text("[")
    (tmp_path / "numbers.json").write_text("[1]")
    for name, said in (
        ("empty.jsonl", "no records"),
        ("broken.json", "no JSON"),
        ("numbers.json", "no JSON obj"),
    ):
        with pytest.raises(DataError, match=said):
            import_file(database, tmp_path / name)
    for name in ("missing.jsonl", "."):
        with pytest.raises(DataError, match="cannot be read"):
            import_file(database, tmp_path / name)


def test_a_very_long_answer_is_an_answer(database: Database, tmp_path: Path) -> None:
    long = "word " * 100_000
    path = written(tmp_path / "long.jsonl", [{"prompt": "p", "completions": [long, ""], "ranks": [1, 2]}])
    import_file(database, path)
    (record,) = exported(database, find_session(database, "long"))
    assert record["completions"] == [long, ""]
