"""Chatbot Arena's records (Zheng et al. 2023, LMSYS chatbot_arena_conversations): two conversations and who
won, as `model_a`, `model_b`, `tie` or `tie (bothbad)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.exchange.incoming import Incoming
from workbench.store.preferences.exchange.records import (
    Record,
    as_messages,
    checked_content,
    common_prompt,
    digest_of,
    number_of,
)
from workbench.store.preferences.judgements import UNKNOWN, Decided
from workbench.store.preferences.log import JUDGEMENTS
from workbench.store.preferences.ranks import relation

KNOWN = ("model_a", "model_b", "winner", "judge", "conversation_a", "conversation_b", "tstamp")
WINNERS = {
    "model_a": ("rank", (1, 2)),
    "model_b": ("rank", (2, 1)),
    "tie": ("tie", (1, 1)),
    "tie (bothbad)": ("all-bad", (1, 1)),
    "both_bad": ("all-bad", (1, 1)),
}


def export_arena(decided: Iterable[Decided]) -> Iterator[dict[str, Any]]:
    """Each judgement as a battle of every two answers, as they stood."""
    for one in decided:
        action = one.action
        if action is None or action.kind not in JUDGEMENTS:
            continue
        prompt = as_messages(one.prompt.content, "user")
        if one.prompt.system is not None:
            prompt = [*as_messages(one.prompt.system, "system"), *prompt]
        pairs = list(combinations(range(len(action.shown)), 2))
        for first, second in pairs:
            sides = [one.answers[action.shown[number]] for number in (first, second)]
            conversations = [[*prompt, *as_messages(side.content, "assistant")] for side in sides]
            won = relation(action.ranks, first, second)
            tie = "tie (bothbad)" if action.kind == "all-bad" else "tie"
            record: dict[str, Any] = {
                "question_id": action.mark + (f"-{first}-{second}" if len(pairs) > 1 else ""),
                "model_a": sides[0].model,
                "model_b": sides[1].model,
                "winner": {1: "model_a", -1: "model_b", 0: tie}[won],
                "conversation_a": conversations[0],
                "conversation_b": conversations[1],
                "turn": max(sum(turn["role"] == "user" for turn in said) for said in conversations),
            }
            if action.annotator != UNKNOWN:
                record["judge"] = action.annotator
            if action.time is not None:
                record["tstamp"] = action.time
            yield {**record, **(action.value.get("extra", {}) if len(pairs) == 1 else {})}


def read_battle(record: Record, where: str) -> list[Incoming]:
    """A battle as it comes in: the prompt is what both conversations begin with."""
    winner = record.get("winner")
    if winner not in WINNERS:
        raise DataError(f"“winner” is {winner!r}", where=where, hint=f"one of {', '.join(WINNERS)}")
    kind, ranks = WINNERS[winner]
    one, other = (_conversation(record, f"conversation_{side}", where) for side in "ab")
    shared = common_prompt(one, other)
    if not shared:
        raise DataError("the conversations do not begin with the same prompt", where=where)
    return [
        Incoming(
            Prompt(one[:shared]),
            (
                Answer(one[shared:], model=str(record.get("model_a") or "")),
                Answer(other[shared:], model=str(record.get("model_b") or "")),
            ),
            digest_of(record),
            kind,
            ranks,
            shown=(0, 1),
            annotator=str(record.get("judge") or UNKNOWN),
            time=number_of(record.get("tstamp")),
            extra={key: value for key, value in record.items() if key not in KNOWN},
        )
    ]


def _conversation(record: Record, key: str, where: str) -> list[dict[str, Any]]:
    value = record.get(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    content = checked_content(value, f"“{key}”", where)
    if not isinstance(content, list):
        raise DataError(f"“{key}” is no list of messages", where=where)
    return content
