"""What a record of each task must be: checked one by one, with file and line of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.data.kinds import number_of
from workbench.data.readers.records import kind_of
from workbench.data.records.preferences import comparison
from workbench.data.records.prompt_records import prompt
from workbench.data.records.reading import Record
from workbench.data.records.schemes import check_tags
from workbench.data.records.texts import BlankText, Checked, held, sound, text_in
from workbench.data.records.turns import sft
from workbench.errors import DataError


def _texts(record: Record) -> Checked:
    checked: Checked = {"text": text_in(record, "text")}
    if record.values.get("text_pair") is not None:
        checked["text_pair"] = text_in(record, "text_pair")
    return checked


def classification(record: Record, *, labelled: bool = True) -> Checked:
    """`text`, `text_pair` where there is one, and `label` as a word."""
    checked = _texts(record)
    if labelled:
        label = record.values.get("label")
        # Tables write a missing number as NaN, which equals nothing.
        if label is None or label != label or (isinstance(label, str) and not label.strip()):
            raise _no_label(record)
        if isinstance(label, (dict, list)):
            raise DataError(f"the label is a {kind_of(label)}, not one word or number", where=record.where)
        # 1.0 where other records say 1: tables write whole numbers so as soon as one is missing.
        whole = isinstance(label, float) and label.is_integer()
        checked["label"] = sound(str(int(label) if whole else label).strip())
    return checked


def regression(record: Record, *, labelled: bool = True) -> Checked:
    """`text`, `text_pair` where there is one, and `label` as a number."""
    checked = _texts(record)
    if labelled:
        label = record.values.get("label")
        if label is None or label != label or label == "":
            raise _no_label(record)
        number = number_of(label)
        if number is None:
            raise DataError(
                f"the label “{label}” is no number", where=record.where, hint="a regression learns numbers"
            )
        checked["label"] = number
    return checked


def tagging(record: Record, *, labelled: bool = True) -> Checked:
    """`tokens`, and as many `tags`."""
    tokens = record.values.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise DataError(
            f"column “tokens” holds {held(record, 'tokens')}, not a list of words", where=record.where
        )
    if not tokens:
        raise BlankText("the record has no words", where=record.where, hint="leave such records out")
    checked: Checked = {"tokens": [sound(token) for token in tokens]}
    if labelled:
        tags = record.values.get("tags")
        if not isinstance(tags, list):
            raise DataError(f"column “tags” holds {held(record, 'tags')}, not a list", where=record.where)
        if len(tags) != len(tokens):
            raise DataError(
                f"there are {len(tokens)} words and {len(tags)} tags",
                where=record.where,
                hint="each word has one tag",
            )
        bare = next((number for number, tag in enumerate(tags, 1) if tag is None or tag == ""), None)
        if bare is not None:
            raise DataError(f"word {bare} has no tag", where=record.where, hint="write O for none")
        checked["tags"] = [sound(str(tag).strip()) for tag in tags]
        check_tags(checked["tags"], record.where)
    return checked


def span_extraction(record: Record, *, labelled: bool = True) -> Checked:
    """`question`, `context`, and `answers` as pairs of text and the place where it begins.

    An answer that does not stand where it says, but in one other place alone, is taken from there.
    """
    context = text_in(record, "context")
    checked: Checked = {"question": text_in(record, "question"), "context": context}
    if labelled:
        checked["answers"] = [_placed(text, start, context, record.where) for text, start in _answers(record)]
    return checked


def _answers(record: Record) -> list[tuple[str, int | None]]:
    """SQuAD's columns of lists, a list of mappings, or bare texts; none for what cannot be answered."""
    answers = record.values.get("answers")
    if isinstance(answers, dict):
        texts, starts = answers.get("text") or [], answers.get("answer_start") or []
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) >= len(starts):
            return list(zip(texts, [*starts, *[None] * (len(texts) - len(starts))], strict=True))
    if isinstance(answers, str):
        return [(answers, None)] if answers else []
    if isinstance(answers, list):
        entries = [answer if isinstance(answer, dict) else {"text": answer} for answer in answers]
        return [(entry.get("text", ""), entry.get("answer_start")) for entry in entries]
    raise DataError(
        f"column “answers” holds {held(record, 'answers')}",
        where=record.where,
        hint='write {"text": ["…"], "answer_start": [12]}, or the text alone where it stands but once',
    )


def _placed(text: Any, start: Any, context: str, where: str) -> tuple[str, int]:
    if not isinstance(text, str) or not text:
        raise DataError("an answer is blank", where=where, hint="no answer at all is an empty list")
    text = sound(text)
    if isinstance(start, int) and context[start : start + len(text)] == text:
        return text, start
    found = context.find(text)
    if found < 0 or context.find(text, found + 1) >= 0:
        place = f"at {start}" if isinstance(start, int) else "anywhere"
        if found >= 0:
            place = f"{place}, but in several other places" if isinstance(start, int) else "in one place only"
        raise DataError(
            f"the answer “{text[:60]}” does not stand {place} in the context",
            where=where,
            hint="answer_start counts characters from 0",
        )
    return text, found


def _no_label(record: Record) -> DataError:
    return DataError(
        "the record has no label",
        where=record.where,
        hint="label it, leave it out, or name the column that holds the label: columns: {label: COLUMN}",
    )


CHECKS: dict[str, Callable[..., Checked]] = {
    "classification": classification,
    "regression": regression,
    "tagging": tagging,
    "span_extraction": span_extraction,
    "sft": sft,
    "conversation": sft,
    "prompt_completion": sft,
    "reward": comparison,
    "dpo": comparison,
    "preference": comparison,
    "ranking": comparison,
    "ppo": prompt,
    "prompt": prompt,
}
"""By the objective that learns from them, or by their kind."""
