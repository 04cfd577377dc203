"""What a record of each task must be: checked one by one, with file and line of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.data.kinds import number_of
from workbench.data.readers.records import kind_of
from workbench.data.records.reading import Record
from workbench.errors import DataError

Checked = dict[str, Any]


def text_in(record: Record, column: str) -> str:
    """A column that must hold text that is not blank."""
    value = record.values.get(column)
    if not isinstance(value, str):
        raise DataError(f"column “{column}” holds {_held(record, column)}, not text", where=record.where)
    if not value.strip():
        raise DataError(f"column “{column}” is blank", where=record.where, hint="leave such records out")
    return value


def _held(record: Record, column: str) -> str:
    return f"a {kind_of(record.values[column])}" if column in record.values else "nothing"


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
        if label is None or (isinstance(label, str) and not label.strip()):
            raise _no_label(record)
        if isinstance(label, (dict, list)):
            raise DataError(f"the label is a {kind_of(label)}, not one word or number", where=record.where)
        checked["label"] = str(label).strip()
    return checked


def regression(record: Record, *, labelled: bool = True) -> Checked:
    """`text`, `text_pair` where there is one, and `label` as a number."""
    checked = _texts(record)
    if labelled:
        label = record.values.get("label")
        if label is None or label == "":
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
            f"column “tokens” holds {_held(record, 'tokens')}, not a list of words", where=record.where
        )
    if not tokens:
        raise DataError("the record has no words", where=record.where, hint="leave such records out")
    # A tokenizer makes nothing of a blank word, and its tag would have no place.
    checked: Checked = {"tokens": [token if token.strip() else "\ufffd" for token in tokens]}
    if labelled:
        tags = record.values.get("tags")
        if not isinstance(tags, list):
            raise DataError(f"column “tags” holds {_held(record, 'tags')}, not a list", where=record.where)
        if len(tags) != len(tokens):
            raise DataError(f"there are {len(tokens)} words and {len(tags)} tags", where=record.where)
        checked["tags"] = [str(tag).strip() for tag in tags]
        _check_scheme(checked["tags"], record.where)
    return checked


def _check_scheme(tags: list[str], where: str) -> None:
    """IOB2 where tags look like it: an entity begins with B- (Ramshaw & Marcus 1995)."""
    if not any(tag.startswith("B-") for tag in tags) and not any(tag.startswith("I-") for tag in tags):
        return
    before = "O"
    for number, tag in enumerate(tags):
        if tag != "O" and not tag.startswith(("B-", "I-")):
            raise DataError(
                f"the tag “{tag}” of word {number + 1} is out of the scheme: O, B-TYPE or I-TYPE",
                where=where,
                hint="rewrite it in IOB2; other schemes (IOBES, BILOU) are not read as entities",
            )
        if tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag):
            raise DataError(
                f"the tag “{tag}” of word {number + 1} follows “{before}”: in IOB2 an entity begins with B-",
                where=where,
                hint=f"write B-{tag[2:]} there; is the file in IOB1?",
            )
        before = tag


def span_extraction(record: Record, *, labelled: bool = True) -> Checked:
    """`question`, `context`, and `answers` as pairs of text and the place where it begins."""
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
        f"column “answers” holds {_held(record, 'answers')}",
        where=record.where,
        hint='write {"text": ["…"], "answer_start": [12]}, or the text alone where it stands but once',
    )


def _placed(text: Any, start: Any, context: str, where: str) -> tuple[str, int]:
    if not isinstance(text, str) or not text:
        raise DataError("an answer is blank", where=where, hint="no answer at all is an empty list")
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
}
