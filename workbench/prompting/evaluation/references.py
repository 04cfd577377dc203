"""The reference answers of a data set, in the form in which answers are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.errors import DataError
from workbench.prompting.answers import Answer, extract, same
from workbench.prompting.answers.json_values import as_text, value_at
from workbench.prompting.examples import split_rationale

RIGHT_FORM = {
    "number": "a number",
    "choice": "one of the options",
    "yes_no": "yes or no",
    "json": "a value",
    "text": "a text",
}


def references_of(value: Any, answer: Answer, names: Mapping[str, str], where: str) -> tuple[str, ...]:
    """All answers that are right: a list of them, or SQuAD's `{"text": […]}`, are several.

    `names` are other words for values, as in 0 for negative. `#### 24` behind a solution is 24, as in GSM8K.
    Raises `DataError` for a value that is no answer of the kind.
    """
    if answer.kind != "json":
        if isinstance(value, dict) and isinstance(value.get("text"), list):
            value = value["text"]
        if isinstance(value, list) and value:
            return tuple(dict.fromkeys(_reference(one, answer, names, where) for one in value))
    return (_reference(value, answer, names, where),)


def is_right(found: str | None, references: tuple[str, ...], answer: Answer) -> bool:
    """Whether an extracted answer is one of the right ones."""
    return any(same(found, reference, answer) for reference in references)


def _reference(value: Any, answer: Answer, names: Mapping[str, str], where: str) -> str:
    text = _text(value, answer)
    text = names.get(text, text)
    if answer.kind == "json":
        return _json_reference(text, value, answer)
    _, text = split_rationale(text)
    found: str | None = next((one for one in answer.options if one.casefold() == text.casefold()), None)
    if answer.kind != "choice" or found is None:
        found = text if answer.kind == "text" else extract(text, answer)
    if not found:
        options = f" ({', '.join(answer.options)})" if answer.kind == "choice" else ""
        raise DataError(
            f"the reference answer “{text[:80]}” is not {RIGHT_FORM[answer.kind]}{options}",
            where=where,
            hint=f"if it stands for one: --map {text[:20] or 'VALUE'}=ANSWER",
        )
    return found


def _text(value: Any, answer: Answer) -> str:
    if isinstance(value, bool) and answer.kind == "yes_no":
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _json_reference(text: str, value: Any, answer: Answer) -> str:
    """The value at the answer's field where the reference is a whole object, else the reference itself."""
    try:
        whole = json.loads(text) if isinstance(value, str) else value
        return as_text(value_at(whole, answer.field))
    except (ValueError, KeyError, RecursionError):
        return text
