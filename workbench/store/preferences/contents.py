"""What is judged: prompts, the answers to them, and the items made of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.database import Database
from workbench.store.preferences.ranks import FEWEST_ANSWERS, MOST_ANSWERS

Content = str | list[dict[str, Any]]
"""A text, or messages of a conversation."""


@dataclass(frozen=True)
class Prompt:
    """What is asked: `content` with its `system` message and `tools`; `extra` is kept and given back."""

    content: Content
    system: str | None = None
    tools: list[Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One answer: of which `model` under which `sampling` parameters, the how manieth `sample` of those.

    `tokens` is its length, `generated` when it was finished, in seconds since 1970.
    """

    content: Content
    model: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0
    finish_reason: str | None = None
    tokens: int | None = None
    generated: float | None = None


@dataclass(frozen=True)
class Item:
    """What is judged at once: `answers` are the numbers of 2 to 9 answers to one prompt."""

    id: int
    position: int
    prompt: int
    answers: tuple[int, ...]


def encoded(value: Any) -> str:
    """A plain value as JSON in ASCII, always the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def prompt_digest(prompt: Prompt) -> str:
    """What tells a prompt from all others."""
    return hashlib.sha256(encoded([prompt.content, prompt.system, prompt.tools]).encode()).hexdigest()


def put_prompt(database: Database, session: int, prompt: Prompt) -> int:
    """The number of a prompt of a session, which is added if it is not there. Within a transaction."""
    digest = prompt_digest(prompt)
    found = database.row("SELECT id FROM prompts WHERE session = ? AND digest = ?", (session, digest))
    if found:
        return int(found[0])
    return database.insert(
        "INSERT INTO prompts (session, digest, content, system, tools, extra) VALUES (?, ?, ?, ?, ?, ?)",
        (
            session,
            digest,
            encoded(prompt.content),
            _or_none(prompt.system),
            _or_none(prompt.tools),
            encoded(dict(prompt.extra)) if prompt.extra else None,
        ),
    )


def put_answer(database: Database, prompt: int, answer: Answer) -> int | None:
    """Add an answer and return its number; None where that sample is there already. Within a transaction."""
    key = (prompt, answer.model, encoded(dict(answer.sampling)), answer.sample)
    if database.row(
        "SELECT id FROM answers WHERE prompt = ? AND model = ? AND sampling = ? AND sample = ?", key
    ):
        return None
    return insert_answer(database, prompt, answer)


def insert_answer(database: Database, prompt: int, answer: Answer) -> int:
    """Add an answer that is not there, and return its number. Within a transaction."""
    key = (prompt, answer.model, encoded(dict(answer.sampling)), answer.sample)
    return database.insert(
        "INSERT INTO answers (prompt, model, sampling, sample, content, finish_reason, tokens, generated) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, encoded(answer.content), answer.finish_reason, answer.tokens, answer.generated),
    )


def put_item(database: Database, session: int, prompt: int, answers: Iterable[int]) -> int:
    """The number of the item of these answers, which is added last if it is not there.

    Within a transaction. Raises `DataError` for a number of answers that cannot be ranked.
    """
    numbers = sorted(set(answers))
    if not FEWEST_ANSWERS <= len(numbers) <= MOST_ANSWERS:
        raise DataError(
            f"{len(numbers)} answer{'s' * (len(numbers) != 1)} cannot be ranked",
            hint=f"an item has {FEWEST_ANSWERS} to {MOST_ANSWERS} answers",
        )
    key = encoded(numbers)
    found = database.row("SELECT id FROM items WHERE prompt = ? AND answers = ?", (prompt, key))
    if found:
        return int(found[0])
    return database.insert(
        "INSERT INTO items (session, prompt, position, answers) VALUES "
        "(?, ?, (SELECT coalesce(max(position), -1) + 1 FROM items WHERE session = ?), ?)",
        (session, prompt, session, key),
    )


def read_prompt(database: Database, number: int) -> Prompt:
    """A prompt by its number."""
    found = database.row("SELECT content, system, tools, extra FROM prompts WHERE id = ?", (number,))
    if found is None:
        raise AssertionError(f"no prompt {number}")
    content, *others = found
    system, tools, extra = (None if text is None else json.loads(text) for text in others)
    return Prompt(json.loads(content), system, tools, extra or {})


def read_answers(database: Database, numbers: Sequence[int]) -> dict[int, Answer]:
    """Answers by their numbers."""
    marks = ",".join("?" * len(numbers))
    return {
        int(row[0]): Answer(json.loads(row[4]), row[1], json.loads(row[2]), row[3], row[5], row[6], row[7])
        for row in database.rows(
            "SELECT id, model, sampling, sample, content, finish_reason, tokens, generated "
            f"FROM answers WHERE id IN ({marks})",
            numbers,
        )
    }


def read_items(database: Database, session: int, after: int = -1) -> list[Item]:
    """The items of a session behind a position, in their order."""
    return [
        Item(row[0], row[1], row[2], tuple(json.loads(row[3])))
        for row in database.rows(
            "SELECT id, position, prompt, answers FROM items WHERE session = ? AND position > ? "
            "ORDER BY position",
            (session, after),
        )
    ]


def _or_none(value: Any) -> str | None:
    return None if value is None else encoded(value)
