"""Argilla's records, old and new, and back again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchanged_records import FIELDS, everything, exported, written

from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.importing import import_file
from workbench.store.preferences.judgements import judgements


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
