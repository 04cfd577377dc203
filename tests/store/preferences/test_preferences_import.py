"""Files that are read into a session: completions nobody ranked, and what is no file of preferences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exchanged_records import FIELDS, battle, exported, written

from workbench.errors import DataError
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.importing import import_file
from workbench.store.preferences.judgements import decided
from workbench.store.preferences.sessions import (
    find_session,
    list_sessions,
)


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


def test_completions_one_a_line_are_sets_by_their_prompts(database: Database, tmp_path: Path) -> None:
    records = [
        {"prompt": prompt, "completion": f"{model} of {prompt}", "model": model}
        for model in ("x", "y", "z")
        for prompt in ("p", "q")
    ]
    path = written(tmp_path / "answers.jsonl", records)
    found = import_file(database, path)
    assert (found.records, found.decisions, found.items) == (6, 0, 2)
    assert import_file(database, path).items == 0
    first, second = decided(database, found.session, undecided=True)
    assert [answer.model for answer in first.answers.values()] == ["x", "y", "z"]
    assert (first.prompt.content, second.prompt.content) == ("p", "q") and first.action is None
    with pytest.raises(DataError, match="only this completion") as caught:
        import_file(database, written(path, records[:3]), session="none")
    assert caught.value.where == f"{path}:2"
    assert [session.name for session in list_sessions(database)] == ["answers"]
