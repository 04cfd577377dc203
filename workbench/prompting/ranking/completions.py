"""A session from a file of completions that nobody has ranked yet. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.prompting.rows import SUFFIXES, read_rows
from workbench.store.preferences.contents import Answer, Prompt, prompt_digest
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.rankings import read_ranking
from workbench.store.preferences.exchange.records import (
    check_count,
    checked_content,
    prompt_of,
    read_records,
    text_of,
    whole,
)
from workbench.store.preferences.sessions import Session, Settings, add_item, create_session

HINT = (
    '{"prompt": "…", "completions": ["…", "…"]}, or one a line: '
    '{"prompt": "…", "completion": "…", "model": "…"}'
)

Set = tuple[Prompt, list[Answer]]
"""A prompt with the answers that are ranked together."""


def read_completions(path: Path, limit: int | None = None) -> list[Set]:
    """The prompts of a file with their answers, in its order, at most `limit` of them.

    A row has all `completions` of a prompt (and, if they are known, their `models`, `sampling` and so on),
    or one `completion` and its `model`: those of one prompt go together, wherever they stand. Raises
    `DataError` naming file and line, also for fewer than two or more than nine answers to a prompt.
    """
    found: dict[str, Set] = {}
    places: dict[str, str] = {}
    number = 0
    for row, where in _rows(path):
        number += 1
        if row.get("ranks") is not None:
            raise DataError(
                "these completions are ranked already", where=where, hint=f"workbench rank import {path}"
            )
        try:
            prompt, answers = _several(row, where) if "completions" in row else _one(row, where)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the row cannot be read: {error}", where=where, hint=HINT) from None
        key = prompt_digest(prompt) + (f" {number}" if "completions" in row else "")
        if key not in found and limit is not None and len(found) >= limit:
            continue
        places.setdefault(key, where)
        found.setdefault(key, (prompt, []))[1].extend(answers)
    if not found:
        raise DataError("the file holds no completions", where=str(path), hint=HINT)
    for key, (_, answers) in found.items():
        check_count(len(answers), places[key])
    return list(found.values())


def create_from_completions(
    database: Database,
    name: str,
    path: Path,
    *,
    limit: int | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
) -> tuple[Session, int]:
    """A session of the answers in a file, and how many items it has: all of them, or nothing is made.

    Raises `DataError`, `UsageError`, `StorageError`.
    """
    sets = read_completions(path, limit)
    with database.transaction():
        session = create_session(database, name, settings, seed=seed)
        for prompt, answers in sets:
            add_item(database, session, prompt, answers)
    return session, len(sets)


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    if path.suffix in SUFFIXES:
        return read_rows(path)
    return read_records(path)


def _several(row: Mapping[str, Any], where: str) -> Set:
    (incoming,) = read_ranking(row, where)
    return incoming.prompt, list(incoming.answers)


def _one(row: Mapping[str, Any], where: str) -> Set:
    if row.get("completion") is None:
        columns = ", ".join(map(str, row)) or "(none)"
        raise DataError(f"the columns {columns} hold no completion", where=where, hint=HINT)
    prompt = Prompt(prompt_of(row, "prompt", where), text_of(row, "system", where), row.get("tools"))
    answer = Answer(
        checked_content(row["completion"], "“completion”", where),
        model=text_of(row, "model", where) or "",
        sampling=dict(row.get("sampling") or {}),
        finish_reason=text_of(row, "finish_reason", where),
        tokens=whole(row.get("tokens")),
    )
    return prompt, [answer]
