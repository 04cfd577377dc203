"""Records of preferences for and from other programs, and a session with everything in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.exporting import Format, export
from workbench.store.preferences.exchange.records import write_records
from workbench.store.preferences.judgements import decided
from workbench.store.preferences.sessions import Session, Settings, add_item, create_session

Records = list[dict[str, Any]]


def written(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    write_records(path, records)
    return path


def exported(database: Database, session: Session, format: Format = "rankings") -> Records:
    """What an export writes of all there is."""
    return export(decided(database, session, undecided=True), session, format).records


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


FIELDS = {"prompt": "p", "response-1": "one", "response-2": "two", "response-3": "three"}
"""Of a record of Argilla."""
