"""Preference pairs as TRL's trainers read them: `prompt`, `chosen`, `rejected`, optional `margin`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.contents import Answer, Content, Prompt
from workbench.store.preferences.exchange.incoming import Incoming
from workbench.store.preferences.exchange.records import (
    Record,
    as_messages,
    common_prompt,
    content_of,
    digest_of,
    prompt_of,
    text_of,
)
from workbench.store.preferences.judgements import UNKNOWN, Decided
from workbench.store.preferences.log import JUDGEMENTS
from workbench.store.preferences.ranks import preferred_pairs

KNOWN = ("prompt", "chosen", "rejected", "system", "tools", "annotator")


@dataclass(frozen=True)
class Pairs:
    """Records of pairs, and how many others are not among them: tied, or of two answers with one text."""

    records: list[dict[str, Any]]
    tied: int
    identical: int


def export_pairs(decided: Iterable[Decided], *, margins: bool = False, repeats: bool = False) -> Pairs:
    """All C(k, 2) untied pairs of each ranking of k answers; `margins` are differences of rank.

    Hidden repetitions are left out unless `repeats`: they would count an opinion twice.
    """
    found, tied, identical = [], 0, 0
    for one in decided:
        action = one.action
        if action is None or action.kind not in JUDGEMENTS:
            continue
        if action.occasion and action.annotator != UNKNOWN and not repeats:
            continue
        count = len(action.shown)
        pairs = list(preferred_pairs(action.ranks))
        tied += len(list(combinations(range(count), 2))) - len(pairs)
        for better, worse in pairs:
            chosen, rejected = (one.answers[action.shown[number]].content for number in (better, worse))
            if chosen == rejected:
                identical += 1
                continue
            record = dict(action.value.get("extra", {})) if count == 2 else {}
            if margins:
                record["margin"] = float(action.ranks[worse] - action.ranks[better])
            found.append({**_columns(one.prompt, chosen, rejected), **record})
    return Pairs(found, tied, identical)


def _columns(prompt: Prompt, chosen: Content, rejected: Content) -> dict[str, Any]:
    """TRL takes all three as texts, or all as messages."""
    record: dict[str, Any] = {"prompt": prompt.content, "chosen": chosen, "rejected": rejected}
    if prompt.system is not None or not all(isinstance(value, str) for value in record.values()):
        system = [] if prompt.system is None else as_messages(prompt.system, "system")
        record = {
            "prompt": [*system, *as_messages(prompt.content, "user")],
            "chosen": as_messages(chosen, "assistant"),
            "rejected": as_messages(rejected, "assistant"),
        }
    if prompt.tools is not None:
        record["tools"] = prompt.tools
    return record


def read_pair(record: Record, where: str) -> list[Incoming]:
    """A pair as it comes in; without a `prompt`, the messages that both begin with are it."""
    chosen, rejected = (content_of(record, key, where) for key in ("chosen", "rejected"))
    if chosen == rejected:
        raise DataError(
            "“chosen” and “rejected” are the same", where=where, hint="remove the record: it prefers nothing"
        )
    if record.get("prompt") is not None:
        prompt = prompt_of(record, "prompt", where)
    elif isinstance(chosen, list) and isinstance(rejected, list) and common_prompt(chosen, rejected):
        shared = common_prompt(chosen, rejected)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        raise DataError("“prompt” is missing", where=where, hint="give the prompt that both answer")
    return [
        Incoming(
            Prompt(prompt, text_of(record, "system", where), record.get("tools")),
            (Answer(chosen), Answer(rejected)),
            digest_of(record),
            "rank",
            (1, 2),
            annotator=str(record.get("annotator") or UNKNOWN),
            extra={key: value for key, value in record.items() if key not in KNOWN},
        )
    ]
