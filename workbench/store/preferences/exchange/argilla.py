"""Argilla's records: answers in fields, people's answers to a ranking question, or a rating of each.

Read are the records of Argilla 2 (`responses: {question: [{value, user_id}]}`) and of its feedback data sets
before (`responses: [{user_id, status, values}]`), from JSON or JSONL. Written is the latter shape: its
ranks may be tied, those of Argilla 2 may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workbench.errors import DataError
from workbench.store.preferences.contents import Answer, Prompt, encoded
from workbench.store.preferences.exchange.incoming import Incoming, Remark
from workbench.store.preferences.exchange.records import (
    Record,
    check_count,
    checked_content,
    digest_of,
    prompt_of,
)
from workbench.store.preferences.judgements import Decided
from workbench.store.preferences.log import DECISIONS
from workbench.store.preferences.ranks import all_tied, dense

PROMPTS = ("prompt", "instruction", "question", "input", "query", "context", "text", "message")
"""What the field of the prompt is often called; the first that is there is taken."""
QUESTION = "ranking"
OWN = "workbench"
"""The key of metadata under which is kept what Argilla has no place for."""


def export_argilla(decided: Iterable[Decided]) -> Iterator[dict[str, Any]]:
    """Each item as a record with the answers of all annotators, fields `prompt` and `response-1` …"""
    of_item: dict[int, list[Decided]] = {}
    for one in decided:
        of_item.setdefault(one.item.id, []).append(one)
    for same in of_item.values():
        first = same[0]
        answers = [first.answers[number] for number in first.item.answers]
        fields = {"prompt": first.prompt.content}
        fields |= {f"response-{number}": answer.content for number, answer in enumerate(answers, 1)}
        told = [one for one in same if one.action is not None and one.action.kind in DECISIONS]
        own = {
            "system": first.prompt.system,
            "tools": first.prompt.tools,
            "answers": [[dict(a.sampling), a.finish_reason, a.tokens, a.generated] for a in answers],
            "responses": [_own(one) for one in told],
        }
        yield {
            "fields": fields,
            "metadata": {"models": [answer.model for answer in answers], OWN: encoded(own)},
            "suggestions": [],
            "responses": [_response(one) for one in told],
        }


def _own(one: Decided) -> dict[str, Any]:
    action = one.action
    assert action is not None
    rank_of = dict(zip(action.shown, action.ranks, strict=False))
    return {
        "id": action.mark,
        "annotator": action.annotator,
        "kind": action.kind,
        "ranks": [rank_of[number] for number in one.item.answers if number in rank_of],
        "occasion": action.occasion,
        "shown": [one.item.answers.index(number) for number in action.shown],
        "milliseconds": action.milliseconds,
        "time": action.time,
        "remarks": [[remark.kind, remark.value, remark.time] for remark in (*one.notes, *one.flags)],
        "extra": action.value.get("extra", {}),
    }


def _response(one: Decided) -> dict[str, Any]:
    action = one.action
    assert action is not None
    rank_of = dict(zip(action.shown, action.ranks, strict=False))
    ranked = [
        {"rank": rank_of[number], "value": f"response-{place}"}
        for place, number in enumerate(one.item.answers, 1)
        if number in rank_of
    ]
    return {
        "user_id": action.annotator,
        "status": "submitted" if ranked else "discarded",
        "values": {QUESTION: {"value": ranked}} if ranked else {},
    }


def read_argilla(record: Record, where: str, question: str | None = None) -> list[Incoming]:
    """One decision for each response and suggestion of a record. `question` names the ranking question, or
    what the names of the rating questions have in common, where a record has several. Raises `DataError`."""
    fields = record.get("fields")
    if not isinstance(fields, dict):
        raise DataError("“fields” is missing", where=where, hint="export the records of Argilla as JSON")
    name = next((name for name in PROMPTS if name in fields), None)
    if name is None:
        raise DataError(
            f"none of the fields {', '.join(fields)} is a prompt", where=where, hint=", ".join(PROMPTS)
        )
    prompt = prompt_of(fields, name, where)
    metadata = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    own = _kept(metadata.get(OWN) if metadata else None, where)
    places = [key for key in fields if key != name]
    rest = {key: value for key, value in record.items() if key not in ("fields", "responses", "suggestions")}
    found: list[Incoming] = []
    for number, (annotator, status, values) in enumerate(_given(record, where)):
        if status == "draft":
            continue
        ranks = _ranked(values, places, question, where)
        if not ranks and status != "discarded":
            continue
        judged = [place for place in places if place in ranks or not ranks]
        check_count(len(judged), where)
        marked = {"fields": fields, "annotator": annotator, "number": number, "ranks": ranks}
        order = dense([ranks[place] for place in judged]) if ranks else ()
        kept = own["responses"][number] if number < len(own.get("responses", [])) else {}
        if kept and (kept["annotator"], kept["ranks"]) != (annotator, list(order)):
            kept = {}  # what we know is about another answer than the one that stands there now
        kind = ("tie" if all_tied(order) else "rank") if ranks else "skip"
        found.append(
            Incoming(
                Prompt(prompt, own.get("system"), own.get("tools")),
                tuple(_answer(fields, key, places, metadata or {}, own, where) for key in judged),
                kept.get("id") or digest_of(marked),
                kept.get("kind", kind),
                order,
                tuple(kept.get("shown", ())),
                annotator,
                kept.get("occasion", 0),
                kept.get("milliseconds"),
                kept.get("time"),
                tuple(Remark(*remark) for remark in kept.get("remarks", ())),
                kept.get("extra", {}) if kept else {"argilla": rest},
            )
        )
    return found


def _kept(text: Any, where: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
        return {**value, "responses": list(value["responses"]), "answers": list(value["answers"])}
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"the metadata “{OWN}” is damaged", where=where, hint="remove it to do without"
        ) from None


def _answer(fields: Record, key: str, places: list[str], metadata: Record, own: Record, where: str) -> Answer:
    place = places.index(key)
    models = metadata.get("models")
    model = str(models[place]) if isinstance(models, list) and len(models) == len(places) else ""
    content = checked_content(fields[key], f"the field “{key}”", where)
    if "answers" not in own or len(own["answers"]) != len(places):
        return Answer(content, model)
    sampling, finish_reason, tokens, generated = own["answers"][place]
    return Answer(content, model, sampling, 0, finish_reason, tokens, generated)


def _given(record: Record, where: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Annotator, status and values by question of each response, then of each suggestion."""
    responses = record.get("responses") or {}
    by_person: dict[str, tuple[str, dict[str, Any]]] = {}
    if isinstance(responses, dict):
        for question, given in responses.items():
            for one in given if isinstance(given, list) else []:
                status = str(one.get("status") or "submitted")
                person = by_person.setdefault(str(one.get("user_id") or "unknown"), (status, {}))
                person[1][question] = one.get("value")
        yield from ((name, status, values) for name, (status, values) in by_person.items())
    elif isinstance(responses, list):
        for one in responses:
            values = one.get("values") or {}
            plain = {key: value.get("value") for key, value in values.items() if isinstance(value, dict)}
            yield str(one.get("user_id") or "unknown"), str(one.get("status") or "submitted"), plain
    else:
        raise DataError("“responses” is neither an object nor a list", where=where)
    suggestions = record.get("suggestions") or {}
    if isinstance(suggestions, dict):
        suggestions = [
            {"question_name": key, **one} for key, one in suggestions.items() if isinstance(one, dict)
        ]
    by_agent: dict[str, dict[str, Any]] = {}
    for one in suggestions:
        values = by_agent.setdefault(str(one.get("agent") or "suggestion"), {})
        values[str(one.get("question_name"))] = one.get("value")
    yield from ((agent, "submitted", values) for agent, values in by_agent.items())


def _ranked(
    values: Mapping[str, Any], places: list[str], question: str | None, where: str
) -> dict[str, float]:
    """The rank of each field, smaller the better, from a ranking or from ratings; empty without either."""
    wanted = {key: value for key, value in values.items() if question is None or question in key}
    rankings = {key: value for key, value in wanted.items() if isinstance(value, list) and value}
    if len(rankings) > 1:
        raise DataError(
            f"there are several rankings: {', '.join(rankings)}",
            where=where,
            hint="name the question to read",
        )
    if rankings:
        found: dict[str, float] = {}
        for number, entry in enumerate(next(iter(rankings.values())), 1):
            value, rank = (
                (entry.get("value"), entry.get("rank")) if isinstance(entry, dict) else (entry, None)
            )
            found[_field(str(value), places, where)] = float(number if rank is None else rank)
        return found
    ratings = {key: value for key, value in wanted.items() if _is_number(value)}
    # A single rating, say of the prompt, ranks nothing.
    return (
        {_field(key, places, where): -float(value) for key, value in ratings.items()}
        if len(ratings) > 1
        else {}
    )


def _field(name: str, places: list[str], where: str) -> str:
    """The field that a value of a ranking, or the name of a rating question, is about."""
    if name in places:
        return name
    plain = _plain(name)
    about = [place for place in places if _plain(place) in plain]
    if not about:
        number = re.findall(r"\d+", name)
        about = [place for place in places if number and re.findall(r"\d+", place)[-1:] == number[-1:]]
    if len(about) == 1:
        return about[0]
    raise DataError(
        f"“{name}” names none of the fields {', '.join(places)}",
        where=where,
        hint="let the names of questions or values hold those of the fields, such as response-1",
    )


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.casefold())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
