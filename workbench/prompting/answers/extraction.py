"""From what a model writes to its answer, and from an answer to the form in which answers are compared."""

from __future__ import annotations

import json

from workbench.prompting.answers.answer import Answer
from workbench.prompting.answers.choices import YES_NO, find_letter, find_word
from workbench.prompting.answers.json_values import as_text, find_json, value_at
from workbench.prompting.answers.numbers import find_number, numbers, written
from workbench.prompting.answers.texts import find_text, text_key


def extract(text: str, answer: Answer) -> str | None:
    """The answer of the kind that is asked for, None where the text has none.

    Numbers, letters, labels, yes and no come in their one form; text as it was written.
    """
    match answer.kind:
        case "number":
            number = find_number(text)
            return None if number is None else written(number)
        case "choice" if answer.lettered:
            return find_letter(text, answer.options)
        case "choice":
            return find_word(text, {option: option for option in answer.options})
        case "yes_no":
            return find_word(text, YES_NO)
        case "json":
            try:
                return as_text(value_at(find_json(text), answer.field))
            except (ValueError, KeyError):
                return None
        case "text":
            return find_text(text)


def key(found: str, answer: Answer) -> str:
    """The form in which an answer is counted and compared."""
    match answer.kind:
        case "number":
            number = next(numbers(found), None)
            return text_key(found) if number is None else written(number)
        case "json":
            return _json_key(found)
        case _:
            return text_key(found)


def same(one: str | None, other: str | None, answer: Answer) -> bool:
    """Whether two extracted answers are the same; one that is missing is like no other."""
    return one is not None and other is not None and key(one, answer) == key(other, answer)


def _json_key(found: str) -> str:
    """Numbers by value, so that 1 and 1.0 agree; words as text; lists and objects as they are."""
    try:
        value = json.loads(found)
    except ValueError:
        return text_key(found)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = next(numbers(found), None)
        return found if number is None else written(number)
    return found
