"""Sessions of ranking: what is to be compared, and the answers that come in while people rank."""

from __future__ import annotations

import difflib
import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.errors import UsageError
from workbench.store.preferences.contents import (
    Answer,
    Prompt,
    encoded,
    insert_answer,
    put_answer,
    put_item,
    put_prompt,
)
from workbench.store.preferences.database import Database
from workbench.store.preferences.order import REPEATED_SHARE
from workbench.store.preferences.ranks import FEWEST_ANSWERS, MOST_ANSWERS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Settings:
    """What holds for all annotators: each of `models` answers each prompt `samples` times under each of
    `sampling`; `criteria` tells people what is better; `repeated` is the share of hidden repetitions.

    A session without models takes its answers from a file.
    """

    models: tuple[str, ...] = ()
    sampling: tuple[Mapping[str, Any], ...] = ({},)
    samples: int = 1
    criteria: str = ""
    repeated: float = REPEATED_SHARE
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers_per_prompt(self) -> int:
        """How many answers make an item; 0 where they come from a file."""
        return len(self.models) * len(self.sampling) * self.samples


@dataclass(frozen=True)
class Wanted:
    """An answer that is still to be generated."""

    prompt: int
    model: str
    sampling: Mapping[str, Any]
    sample: int


@dataclass(frozen=True)
class Session:
    """One session in the database."""

    id: int
    name: str
    created: float
    seed: int
    settings: Settings


def create_session(
    database: Database, name: str, settings: Settings | None = None, *, seed: int | None = None
) -> Session:
    """Begin a session; without a `seed` one is drawn and kept. Raises `UsageError`, `StorageError`."""
    settings = settings or Settings()
    if not NAME.fullmatch(name):
        raise UsageError(
            f"“{name}” cannot be the name of a session",
            hint="letters, digits, dots, dashes and underscores, the first a letter or digit",
        )
    answers = settings.answers_per_prompt
    if settings.models and not FEWEST_ANSWERS <= answers <= MOST_ANSWERS:
        raise UsageError(
            f"{len(settings.models)} models × {len(settings.sampling)} sampling parameters × "
            f"{settings.samples} samples make {answers} answers to a prompt",
            hint=f"an item has {FEWEST_ANSWERS} to {MOST_ANSWERS} answers",
        )
    if not 0.0 <= settings.repeated <= 0.5:
        raise UsageError(f"a share of {settings.repeated} cannot be repeated", hint="give one from 0 to 0.5")
    seed = secrets.randbits(32) if seed is None else seed
    created = time.time()
    with database.transaction():
        if database.row("SELECT id FROM sessions WHERE name = ?", (name,)):
            raise UsageError(
                f"there is a session called “{name}” already", hint="open it, or take another name"
            )
        number = database.insert(
            "INSERT INTO sessions (name, created, seed, settings) VALUES (?, ?, ?, ?)",
            (name, created, seed, encoded(_as_dict(settings))),
        )
    return Session(number, name, created, seed, settings)


def list_sessions(database: Database) -> list[Session]:
    """All sessions, the newest first. Raises `StorageError`."""
    rows = database.rows(
        "SELECT id, name, created, seed, settings FROM sessions ORDER BY created DESC, id DESC"
    )
    return [Session(row[0], row[1], row[2], row[3], _settings(json.loads(row[4]))) for row in rows]


def find_session(database: Database, name: str) -> Session:
    """A session by its name. Raises `UsageError` naming the nearest, `StorageError`."""
    known = {session.name: session for session in list_sessions(database)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"there is no session called “{name}”",
        where=str(database.path),
        hint=f"did you mean {near[0]}?" if near else "workbench rank list shows the sessions",
    )


def add_prompts(database: Database, session: Session, prompts: Iterable[Prompt]) -> list[int]:
    """Add prompts and return their numbers; those that are there already keep theirs."""
    with database.transaction():
        return [put_prompt(database, session.id, prompt) for prompt in prompts]


def wanted_answers(database: Database, session: Session, limit: int = 100) -> list[Wanted]:
    """The next answers to generate, prompt by prompt. Raises `StorageError`."""
    settings = session.settings
    rows = database.rows(
        "SELECT prompts.id FROM prompts LEFT JOIN answers ON answers.prompt = prompts.id "
        "WHERE prompts.session = ? AND NOT EXISTS (SELECT 1 FROM items WHERE items.prompt = prompts.id) "
        "GROUP BY prompts.id HAVING count(answers.id) < ? ORDER BY prompts.id LIMIT ?",
        (session.id, settings.answers_per_prompt, limit),
    )
    found: list[Wanted] = []
    for (prompt,) in rows:
        there = set(database.rows("SELECT model, sampling, sample FROM answers WHERE prompt = ?", (prompt,)))
        found += [
            Wanted(prompt, model, sampling, sample)
            for model in settings.models
            for sampling in settings.sampling
            for sample in range(settings.samples)
            if (model, encoded(dict(sampling)), sample) not in there
        ]
    return found[:limit]


def add_answers(
    database: Database, session: Session, prompt: int, answers: Sequence[Answer], *, complete: bool = False
) -> int | None:
    """Add answers to a prompt, and return the number of the item once it can be ranked, else None.

    An item is made when all models have answered, or of what there is when it is `complete`: a model may
    have failed. A sample that is there already is left as it is. Raises `DataError` where a complete prompt
    has too few answers, `StorageError`.
    """
    with database.transaction():
        for answer in answers:
            now = time.time() if answer.generated is None else answer.generated
            put_answer(database, prompt, replace(answer, generated=now))
        numbers = [row[0] for row in database.rows("SELECT id FROM answers WHERE prompt = ?", (prompt,))]
        expected = session.settings.answers_per_prompt
        if complete or (expected and len(numbers) >= expected):
            return put_item(database, session.id, prompt, numbers)
    return None


def add_item(database: Database, session: Session, prompt: Prompt, answers: Sequence[Answer]) -> int:
    """Add a prompt with all its answers and return the number of the item, for answers from a file.

    An answer is known by its model, sampling parameters and text: it may be in several items. Raises
    `DataError` for a number of answers that cannot be ranked, `StorageError`.
    """
    with database.transaction():
        number = put_prompt(database, session.id, prompt)
        return put_item(database, session.id, number, match_answers(database, number, answers))


def match_answers(database: Database, prompt: int, answers: Sequence[Answer]) -> list[int]:
    """The numbers of answers to a prompt in their order; those that are not there are added.

    Within a transaction. Twice the same answer is two samples.
    """
    used: list[int] = []
    for answer in answers:
        source = (prompt, answer.model, encoded(dict(answer.sampling)))
        there = database.rows(
            "SELECT id, content, sample FROM answers WHERE prompt = ? AND model = ? AND sampling = ? "
            "ORDER BY sample",
            source,
        )
        text = encoded(answer.content)
        same = next((row[0] for row in there if row[1] == text and row[0] not in used), None)
        if same is None:
            sample = max((row[2] for row in there), default=-1) + 1
            same = insert_answer(database, prompt, replace(answer, sample=sample))
        used.append(same)
    return used


def delete_session(database: Database, session: Session) -> None:
    """Remove a session and all that was said in it. Raises `StorageError`."""
    with database.transaction():
        database.rows("DELETE FROM sessions WHERE id = ?", (session.id,))


def _as_dict(settings: Settings) -> dict[str, Any]:
    return {
        **settings.extra,
        "models": list(settings.models),
        "sampling": [dict(sampling) for sampling in settings.sampling],
        "samples": settings.samples,
        "criteria": settings.criteria,
        "repeated": settings.repeated,
    }


def _settings(value: dict[str, Any]) -> Settings:
    known = {name: value.pop(name) for name in ("models", "sampling", "samples", "criteria", "repeated")}
    return Settings(
        **{**known, "models": tuple(known["models"]), "sampling": tuple(known["sampling"])}, extra=value
    )


@dataclass(frozen=True)
class Counts:
    """How much there is of a session: `decisions` by annotator, with what was undone or done anew."""

    prompts: int
    answers: int
    items: int
    decisions: Mapping[str, int]


def counts(database: Database, session: Session) -> Counts:
    """How much there is of a session, for a list of sessions. Raises `StorageError`."""
    with database.snapshot():
        found = database.row(
            "SELECT (SELECT count(*) FROM prompts WHERE session = ?1), (SELECT count(*) FROM answers JOIN "
            "prompts ON prompts.id = answers.prompt WHERE session = ?1), "
            "(SELECT count(*) FROM items WHERE session = ?1)",
            (session.id,),
        )
        people = database.rows(
            "SELECT annotator, sum(kind IN ('rank', 'tie', 'best-only', 'all-bad', 'skip')) FROM actions "
            "WHERE session = ? GROUP BY annotator ORDER BY annotator",
            (session.id,),
        )
    prompts, answers, items = found or (0, 0, 0)
    return Counts(prompts, answers, items, dict(people))
