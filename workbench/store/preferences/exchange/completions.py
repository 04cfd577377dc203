"""Completions that nobody has ranked yet: all those to a prompt in one record, or one a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.contents import Answer, Prompt, prompt_digest
from workbench.store.preferences.exchange.incoming import Incoming
from workbench.store.preferences.exchange.rankings import read_ranking
from workbench.store.preferences.exchange.records import checked_content, prompt_of, text_of, whole
from workbench.store.preferences.ranks import FEWEST_ANSWERS, MOST_ANSWERS

HINT = (
    '{"prompt": "…", "completions": ["…", "…"]}, or one a line: '
    '{"prompt": "…", "completion": "…", "model": "…"}'
)


@dataclass
class AnswerSet:
    """A prompt with the answers that are ranked together, of so many `records`, the first of them `where`."""

    prompt: Prompt
    where: str
    answers: list[Answer] = field(default_factory=list)
    records: int = 0


def read_sets(records: Iterable[tuple[Mapping[str, Any], str]], limit: int | None = None) -> list[AnswerSet]:
    """The prompts of records, each given with its place, in their order, at most `limit` of them.

    A record has all `completions` of a prompt (and, if they are known, their `models`, `sampling` and so
    on), or one `completion` and its `model`: those of one prompt go together, wherever they stand. Raises
    `DataError` naming the place, also for fewer than two or more than nine completions of a prompt.
    """
    found: dict[str, AnswerSet] = {}
    for number, (record, where) in enumerate(records):
        if record.get("ranks") is not None:
            raise DataError(
                "these completions are ranked already", where=where, hint="workbench rank import reads such"
            )
        whole_set = "completions" in record
        try:
            prompt, answers = _several(record, where) if whole_set else _one(record, where)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the record cannot be read: {error}", where=where, hint=HINT) from None
        key = f"{prompt_digest(prompt)} {number}" if whole_set else prompt_digest(prompt)
        if key not in found and limit is not None and len(found) >= limit:
            continue
        one = found.setdefault(key, AnswerSet(prompt, where))
        one.answers.extend(answers)
        one.records += 1
    for one in found.values():
        _check_size(len(one.answers), one.where)
    return list(found.values())


def as_incoming(sets: Iterable[AnswerSet]) -> list[Incoming]:
    """Sets of answers as an import takes them."""
    return [
        Incoming(one.prompt, tuple(one.answers), prompt_digest(one.prompt), records=one.records)
        for one in sets
    ]


def _several(record: Mapping[str, Any], where: str) -> tuple[Prompt, Sequence[Answer]]:
    (incoming,) = read_ranking(record, where)
    return incoming.prompt, incoming.answers


def _one(record: Mapping[str, Any], where: str) -> tuple[Prompt, Sequence[Answer]]:
    if record.get("completion") is None:
        columns = ", ".join(map(str, record)) or "(none)"
        raise DataError(f"the columns {columns} hold no completion", where=where, hint=HINT)
    prompt = Prompt(prompt_of(record, "prompt", where), text_of(record, "system", where), record.get("tools"))
    answer = Answer(
        checked_content(record["completion"], "“completion”", where),
        model=text_of(record, "model", where) or "",
        sampling=dict(record.get("sampling") or {}),
        finish_reason=text_of(record, "finish_reason", where),
        tokens=whole(record.get("tokens")),
    )
    return prompt, [answer]


def _check_size(count: int, where: str) -> None:
    if count < FEWEST_ANSWERS:
        raise DataError(
            "the file has only this completion of its prompt: there is nothing to rank it against",
            where=where,
            hint="give each prompt two at least, word for word the same prompt in each record",
        )
    if count > MOST_ANSWERS:
        raise DataError(
            f"the prompt has {count} completions",
            where=where,
            hint=f"{MOST_ANSWERS} at most are ranked together: leave some out, or give the sets as "
            "“completions”",
        )
