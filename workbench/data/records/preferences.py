"""Records of people's preferences, pairs and rankings: checked, and brought into one shape.

The shape (`comparison`):

    {"prompt": text or messages, "completions": [text or messages, …], "ranks": [1, 2, 2],
     "tools": [...], "margin": 0.5}

`prompt` and all `completions` are text, or all are messages: where a record mixes the two, text of the prompt
is the user's, text of a completion the assistant's. `ranks` has a whole number from 1 for each completion,
1 the best, equal ones a tie; of a pair 1 for `chosen` and 2 for `rejected`. `margin` is there only where a
pair has one: by how much the better answer is better, in the units of rewards. `tools` is what the prompt
offers, mostly nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.data.kinds import OFTEN_CALLED, number_of
from workbench.data.readers.records import kind_of
from workbench.data.records.reading import Record
from workbench.data.records.texts import BlankText, Checked, held, sound, text_in
from workbench.data.records.turns import messages_in, tools_in
from workbench.errors import DataError

Answer = str | list[dict[str, Any]]


class Uninformative(BlankText):
    """A record that tells no answer from another: training leaves it out, and counts it by `reason`."""

    def __init__(self, problem: str, reason: str, *, where: str) -> None:
        super().__init__(problem, where=where, hint="such records are left out")
        self.reason = reason


def comparison(record: Record, *, labelled: bool = True) -> Checked:
    """A pair or a ranking, whichever the record is; `labelled` as off asks for no ranks, and takes one
    `completion` too.

    Raises `DataError`, and `Uninformative` where there are fewer than two answers, only ties, or only one
    and the same answer.
    """
    values = record.values
    pair = "chosen" in values and "rejected" in values
    checked = _pair(record) if pair else _ranking(record, labelled=labelled)
    answers = checked["completions"]
    if labelled and len(set(checked["ranks"])) < 2:
        raise Uninformative("all answers are tied", "only ties", where=record.where)
    if labelled and all(answer == answers[0] for answer in answers):
        raise Uninformative("the answers are identical", "identical answers", where=record.where)
    return checked


def _pair(record: Record) -> Checked:
    names = ("chosen", "rejected")
    whole = [_answer(record.values.get(name), name, record) for name in names]
    if record.values.get("prompt") is None:
        prompt, answers = _common_beginning(whole, record)
    else:
        prompt, answers = _with_prompt(_prompt(record), whole, record)
    found: Checked = {
        "prompt": prompt,
        "completions": answers,
        "ranks": [1, 2],
        "tools": tools_in(record),
    }
    margin = record.values.get("margin")
    if margin is not None and margin == margin:  # tables write a missing number as NaN
        number = number_of(margin)
        if number is None:
            raise DataError(f"the margin “{margin}” is no number", where=record.where)
        found["margin"] = number
    return found


def _ranking(record: Record, *, labelled: bool) -> Checked:
    values = record.values.get("completions")
    if values is None and not labelled and "completion" in record.values:
        values = [record.values["completion"]]
    if not isinstance(values, list):
        raise DataError(
            f"column “completions” holds {held(record, 'completions')}, not a list of answers",
            where=record.where,
            hint="a record has a prompt with its completions, or with a chosen and a rejected answer",
        )
    if labelled and len(values) < 2:
        raise Uninformative("there is only one answer", "only one answer", where=record.where)
    answers = [_answer(value, f"completions[{number}]", record) for number, value in enumerate(values)]
    prompt, answers = _with_prompt(_prompt(record), answers, record)
    found = {"prompt": prompt, "completions": answers, "tools": tools_in(record)}
    if labelled:
        found["ranks"] = _ranks(record, len(answers))
    return found


def _ranks(record: Record, count: int) -> list[int]:
    ranks = record.values.get("ranks")
    if not isinstance(ranks, list):
        raise DataError(f"column “ranks” holds {held(record, 'ranks')}, not a list", where=record.where)
    if len(ranks) != count:
        raise DataError(
            f"there are {count} answers and {len(ranks)} ranks",
            where=record.where,
            hint="each answer has one rank",
        )
    numbers = [number_of(rank) for rank in ranks]
    for place, number in enumerate(numbers):
        if number is None or number != int(number) or number < 1:
            raise DataError(
                f"the rank of answer {place + 1} is “{ranks[place]}”",
                where=record.where,
                hint="ranks are whole numbers from 1, the best; equal ones are a tie",
            )
    return [int(number) for number in numbers if number is not None]


def _prompt(record: Record) -> Answer:
    value = record.values.get("prompt")
    if value is None:
        raise DataError("the record has no prompt", where=record.where, hint=_name_it(record))
    if isinstance(value, list):
        messages = messages_in(value, "prompt", record)
        if not messages:
            raise BlankText("the prompt has no messages", where=record.where, hint="leave such records out")
        return messages
    return text_in(record, "prompt")


def _name_it(record: Record) -> str:
    likely = next((name for name in OFTEN_CALLED["prompt"] if name in record.values), "COLUMN")
    return f"name the column that holds it: columns: {{prompt: {likely}}}"


def _answer(value: Any, column: str, record: Record) -> Answer:
    """Text, messages, or one message. An answer that is blank is left to who makes tokens of it."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        what = "nothing" if value is None else f"a {kind_of(value)}"
        raise DataError(f"“{column}” holds {what}, not an answer", where=record.where)
    return messages_in(value, column, record)


def _with_prompt(prompt: Answer, answers: Sequence[Answer], record: Record) -> tuple[Answer, list[Answer]]:
    """Prompt and answers, all as text or all as messages."""
    if isinstance(prompt, str) and all(isinstance(answer, str) for answer in answers):
        return prompt, list(answers)
    if len(answers) > 1 and all(_is_whole(answer) for answer in answers):
        return _without(prompt, answers, record)
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    turns = [
        [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
        for answer in answers
    ]
    for answer in turns:
        if not answer or answer[0]["role"] != "assistant":
            raise DataError(
                f"an answer begins with {_from(answer)}, not with what the assistant says",
                where=record.where,
                hint="put what stands before the answers into the prompt",
            )
    return messages, list(turns)


def _is_whole(answer: Answer) -> bool:
    """Whether an answer is a conversation from its beginning on."""
    return not isinstance(answer, str) and bool(answer) and answer[0]["role"] != "assistant"


def _without(prompt: Answer, answers: Sequence[Answer], record: Record) -> tuple[Answer, list[Answer]]:
    """Whole conversations beside a prompt: they must begin with it."""
    common, rest = _common_beginning(answers, record)
    same = common == prompt if isinstance(prompt, list) else common[-1]["content"] == prompt  # type: ignore[index]
    if not same:
        raise DataError(
            "the answers are whole conversations, and they do not begin with the prompt",
            where=record.where,
            hint="give the answers alone, or the conversations without a prompt",
        )
    return common, rest


def _common_beginning(answers: Sequence[Answer], record: Record) -> tuple[Answer, list[Answer]]:
    """The messages that all conversations begin with, as their prompt, and what is left of each."""
    talks = [answer for answer in answers if isinstance(answer, list)]
    if len(talks) != len(answers):
        raise DataError(
            "the record has no prompt, and its answers are text", where=record.where, hint=_name_it(record)
        )
    same = 0
    while all(len(talk) > same and talk[same] == talks[0][same] for talk in talks):
        same += 1
    if talks and all(len(talk) == same for talk in talks):
        raise Uninformative("the answers are identical", "identical answers", where=record.where)
    if not same:
        raise DataError(
            "the record has no prompt, and its conversations begin differently",
            where=record.where,
            hint=_name_it(record),
        )
    rest = [talk[same:] for talk in talks]
    for answer in rest:
        if answer and answer[0]["role"] != "assistant":
            raise DataError(
                f"the conversations differ first in {_from(answer)}, not in what the assistant says",
                where=record.where,
                hint="a pair has one prompt and two answers to it",
            )
    return talks[0][:same], list(rest)


def _from(answer: Sequence[Mapping[str, Any]]) -> str:
    return f"a message from “{answer[0]['role']}”" if answer else "nothing"
