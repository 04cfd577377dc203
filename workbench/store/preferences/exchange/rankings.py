"""Our own records of rankings, one JSON object a line, with everything that is known about each.

`prompt`, `completions` and `ranks` (1 best, equal a tie) are what training reads. For each completion there
are `models`, `sampling`, `finish_reasons`, `tokens` and `generated`; for the decision `annotator`, `kind`,
`occasion` (above 0 where the item came again), `shown` (numbers of the completions, left to right),
`milliseconds`, `time`, `notes`, `flags`, `session` and `id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.exchange.incoming import Incoming, Remark, same_everywhere
from workbench.store.preferences.exchange.records import (
    Record,
    check_count,
    checked_content,
    checked_ranks,
    digest_of,
    list_of,
    number_of,
    prompt_of,
    text_of,
    whole,
)
from workbench.store.preferences.judgements import UNKNOWN, Decided
from workbench.store.preferences.log import DECISIONS, JUDGEMENTS
from workbench.store.preferences.ranks import all_tied
from workbench.store.preferences.sessions import Session

KNOWN = frozenset(
    (
        *("prompt", "system", "tools", "completions", "ranks", "models", "sampling", "finish_reasons"),
        *("tokens", "generated", "annotator", "kind", "occasion", "shown", "milliseconds", "time"),
        *("note", "notes", "flags", "session", "id"),
    )
)
MARK = re.compile(r"[0-9a-f]{24}")


def export_rankings(decided: Iterable[Decided], session: Session) -> Iterator[dict[str, Any]]:
    """Each decision as a record; its `ranks` are null where nothing was ranked."""
    for one in decided:
        answers = [one.answers[number] for number in one.item.answers]
        action = one.action
        record: dict[str, Any] = {"prompt": one.prompt.content}
        if one.prompt.system is not None:
            record["system"] = one.prompt.system
        if one.prompt.tools is not None:
            record["tools"] = one.prompt.tools
        record["completions"] = [answer.content for answer in answers]
        rank_of = dict(zip(action.shown, action.ranks, strict=False)) if action else {}
        record["ranks"] = [rank_of[number] for number in one.item.answers] if rank_of else None
        record |= {
            "models": [answer.model for answer in answers],
            "sampling": [dict(answer.sampling) for answer in answers],
            "finish_reasons": [answer.finish_reason for answer in answers],
            "tokens": [answer.tokens for answer in answers],
            "generated": [answer.generated for answer in answers],
            "session": session.name,
        }
        if action is not None:
            is_decision = action.kind in DECISIONS
            record |= {
                "annotator": action.annotator,
                "kind": action.kind if is_decision else None,
                "occasion": action.occasion,
                "shown": [one.item.answers.index(number) for number in action.shown]
                if action.sides_known
                else None,
                "milliseconds": action.milliseconds if is_decision else None,
                "time": action.time if is_decision else None,
                "notes": [{"text": note.value.get("text", ""), "time": note.time} for note in one.notes],
                "flags": [{**flag.value, "time": flag.time} for flag in one.flags],
                "id": action.mark if is_decision else action.mark.partition("/")[0],
            }
        extra = action.value.get("extra", {}) if action else {}
        yield {**one.prompt.extra, **extra, **record}


def read_ranking(record: Record, where: str) -> list[Incoming]:
    """A record as it comes in. Raises `DataError` for what is no ranking."""
    completions = record.get("completions")
    if not isinstance(completions, list):
        raise DataError("“completions” is no list", where=where, hint="a list of two to nine answers")
    count = len(completions)
    check_count(count, where)
    prompt = prompt_of(record, "prompt", where)
    columns = {
        key: list_of(record, key, count, where)
        for key in ("models", "sampling", "finish_reasons", "tokens", "generated")
    }
    answers = tuple(
        Answer(
            checked_content(content, f"answer {number + 1}", where),
            model=str(columns["models"][number] or ""),
            sampling=dict(columns["sampling"][number] or {}),
            finish_reason=columns["finish_reasons"][number],
            tokens=whole(columns["tokens"][number]),
            generated=number_of(columns["generated"][number]),
        )
        for number, content in enumerate(completions)
    )
    ranks = () if record.get("ranks") is None else checked_ranks(record["ranks"], count, where)
    if ranks and not same_everywhere(ranks, answers):
        raise DataError(
            "two completions are the same and have different ranks",
            where=where,
            hint="remove one of them, or give both the same rank",
        )
    extra = {key: value for key, value in record.items() if key not in KNOWN}
    mark = str(record.get("id", ""))
    if not MARK.fullmatch(mark):
        # Not one of ours: in other files several records of one prompt may have the same.
        extra |= {"source_id": record["id"]} if "id" in record else {}
        mark = digest_of(record)
    kind = _kind(record, ranks, where)
    return [
        Incoming(
            Prompt(prompt, text_of(record, "system", where), record.get("tools"), {} if kind else extra),
            answers,
            mark,
            kind,
            ranks if kind in JUDGEMENTS else (),
            _shown(record, count, where),
            str(record.get("annotator") or UNKNOWN),
            int(record.get("occasion") or 0),
            whole(record.get("milliseconds")),
            number_of(record.get("time")),
            tuple(_remarks(record, where)),
            extra,
        )
    ]


def _kind(record: Record, ranks: tuple[int, ...], where: str) -> str | None:
    kind = record.get("kind")
    if kind is not None and kind not in DECISIONS:
        raise DataError(f"“kind” is {kind!r}", where=where, hint=f"one of {', '.join(sorted(DECISIONS))}")
    if kind in JUDGEMENTS and not ranks:
        raise DataError(f"“kind” is {kind} and there are no “ranks”", where=where)
    if kind is None and ranks:
        return "tie" if all_tied(ranks) else "rank"
    return kind


def _shown(record: Record, count: int, where: str) -> tuple[int, ...]:
    shown = record.get("shown")
    if shown is None:
        return ()
    if not isinstance(shown, list) or sorted(map(str, shown)) != sorted(map(str, range(count))):
        raise DataError(
            f"“shown” is no order of {count} answers",
            where=where,
            hint=f"the numbers 0 to {count - 1}, as the answers stood from left to right",
        )
    return tuple(int(number) for number in shown)


def _remarks(record: Record, where: str) -> Iterator[Remark]:
    """Notes and flags, ours with their times or plain texts of others."""
    for kind, key, name in (("note", "note", "text"), ("note", "notes", "text"), ("flag", "flags", "reason")):
        values = record.get(key) or []
        values = [values] if isinstance(values, (str, bool)) else values
        if not isinstance(values, list):
            raise DataError(f"“{key}” is neither a text nor a list", where=where)
        for value in values:
            said: dict[str, Any] = (
                dict(value) if isinstance(value, dict) else {name: "" if value is True else str(value)}
            )
            moment = said.pop("time", None)
            if kind == "flag":
                said = {"on": True, "reason": "", **said}
            yield Remark(kind, said, number_of(moment))
