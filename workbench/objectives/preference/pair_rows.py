"""Prompts with the answers that are compared, as batches: each answer once, however many pairs it is in.

Letters: E prompts of a batch, S answers, Q pairs, N tokens, M tokens that count (those the assistant says).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.records import PreferenceStore, RowOrder
from workbench.models.shared_prompt.plan import Layout, plan_arrays
from workbench.objectives.base import Batch
from workbench.objectives.preference.pairs import PairChoice, pairs_of


@dataclass
class RowForm:
    """How rows are written: `is_shared` as one flat row with each prompt once, for models that take it (see
    `share_prompts`), else a row for each answer, its prompt before it."""

    is_shared: bool = True


@dataclass(frozen=True)
class Element:
    """A prompt as it is trained on: `answers` are numbers of the store, `pairs` are places among these."""

    prompt: NDArray[np.int32]
    answers: list[int]
    pairs: list[tuple[int, int]]


@dataclass
class PairRows:
    """One prompt with its compared answers a row.

    `reference` [answers of the store] are log-probabilities under the reference, NaN where not known; None
    where they are not computed beforehand.
    """

    rows: RowOrder[PreferenceStore]
    store: PreferenceStore
    choice: PairChoice
    form: RowForm
    reference: NDArray[np.float32] | None = None
    _elements: dict[int, Element] = field(default_factory=dict, init=False)

    @property
    def length(self) -> int:
        """Tokens of a prompt with one answer, at most."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many prompts an epoch has: the same for all unless a weight is fractional."""
        return self.rows.rows_per_epoch(epoch)

    def element(self, number: int) -> Element:
        """A prompt of the store, with the answers that stand in a pair."""
        if number not in self._elements:
            answers = self.store.answers_of(number)
            pairs = pairs_of([int(self.store.ranks[answer]) for answer in answers], self.choice)
            used = sorted({place for pair in pairs for place in pair})
            order = {place: index for index, place in enumerate(used)}
            self._elements[number] = Element(
                self.store.prompt(number),
                [answers[place] for place in used],
                [(order[better], order[worse]) for better, worse in pairs],
            )
        return self._elements[number]

    def batch(self, start: int, count: int) -> Batch:
        """`count` prompts. Arrays, as tensors of the model's device:

        `input_ids`, `position_ids` [1, N] with a plan (`plan_arrays`), or [S, longest]; `places` [M], where
        in the flattened batch the token before each that counts stands; `targets` [M], those tokens; `slots`
        [M], their places in a table [S, most tokens]; `answer_lengths` [S]; `better`, `worse` [Q], of the
        answers; `weights` [Q], 1 over the number of pairs of the prompt; `reference` [S]. The count is that
        of prompts.
        """
        indices = self.rows.indices(start, count)
        elements = [self.element(int(number)) for number in indices]
        write = _flat if self.form.is_shared else _separate
        arrays, tokens, layout = write(elements, self.store)
        answers = np.array([answer for element in elements for answer in element.answers], np.int64)
        firsts = np.cumsum([0, *(len(element.answers) for element in elements)])
        pairs = [
            (first + better, first + worse, 1.0 / len(element.pairs))
            for first, element in zip(firsts, elements, strict=False)
            for better, worse in element.pairs
        ]
        table = np.array(pairs, np.float64).reshape(-1, 3)
        arrays["better"], arrays["worse"] = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
        arrays["weights"] = table[:, 2]
        if self.reference is not None:
            arrays["reference"] = self.reference[answers]
        spoken = [[self.store.answer(answer) for answer in element.answers] for element in elements]
        extra = {"layout": layout, "answers": answers, "elements": elements, "spoken": spoken}
        return Batch(arrays, (len(elements),), tokens, extra)

    def report(self) -> dict[str, Any]:
        """The first epoch; `tokens` counts each prompt as often as it is computed."""
        tokens = places = 0
        for number in self.rows.order(0).tolist():
            element = self.element(number)
            sizes = [int(self.store.answer_lengths[answer]) for answer in element.answers]
            prompt = len(element.prompt)
            tokens += prompt * (1 if self.form.is_shared else len(sizes)) + sum(sizes)
            places += prompt + sum(sizes) if self.form.is_shared else len(sizes) * (prompt + max(sizes))
        return {
            "rows": self.rows_per_epoch(0),
            "tokens": tokens,
            "padding": places - tokens,
            "efficiency": round(tokens / max(places, 1), 6),
            "truncated": self.store.truncated,
            "cropped": 0,
        }


Written = tuple[dict[str, NDArray[Any]], int, Layout | None]
"""Arrays, how many tokens are no padding, and how a flat row is laid out."""


def _flat(elements: list[Element], store: PreferenceStore) -> Written:
    """One row of all tokens, each prompt once and its answers behind it."""
    parts: list[NDArray[np.int32]] = []
    counted: list[_Counted] = []
    place = 0
    for element in elements:
        parts.append(element.prompt)
        place += len(element.prompt)
        before = place - 1 if len(element.prompt) else None
        for answer in element.answers:
            ids, said = store.answer(answer)
            parts.append(ids)
            counted.append(_Counted(ids, said, before, place))
            place += len(ids)
    sizes = [[int(store.answer_lengths[answer]) for answer in element.answers] for element in elements]
    arrays, layout = plan_arrays([len(element.prompt) for element in elements], sizes)
    arrays["input_ids"] = np.concatenate(parts).astype(np.int64)[None]
    return arrays | _targets(counted), place, layout


def _separate(elements: list[Element], store: PreferenceStore) -> Written:
    """A row for each answer, padded on the right."""
    rows = [(element.prompt, *store.answer(answer)) for element in elements for answer in element.answers]
    width = max(len(prompt) + len(ids) for prompt, ids, _ in rows)
    ids = np.full((len(rows), width), store.pad_token_id, np.int64)
    counted, tokens = list[_Counted](), 0
    for number, (prompt, answer, said) in enumerate(rows):
        size = len(prompt)
        ids[number, :size] = prompt
        ids[number, size : size + len(answer)] = answer
        first = number * width + size
        counted.append(_Counted(answer, said, first - 1 if size else None, first))
        tokens += size + len(answer)
    positions = np.broadcast_to(np.arange(width, dtype=np.int64), ids.shape).copy()
    return {"input_ids": ids, "position_ids": positions} | _targets(counted), tokens, None


@dataclass(frozen=True)
class _Counted:
    """An answer, which of its tokens count, the place of the token before it (None: there is none), and of
    its first."""

    ids: NDArray[np.int32]
    said: NDArray[np.bool_]
    before: int | None
    first: int


def _targets(answers: list[_Counted]) -> dict[str, NDArray[Any]]:
    places, targets, slots = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]]()
    width = max(len(answer.ids) for answer in answers)
    for number, answer in enumerate(answers):
        here = np.flatnonzero(answer.said)
        if answer.before is None:
            here = here[here > 0]
        before = answer.first + here - 1
        if answer.before is not None:
            before[here == 0] = answer.before
        places.append(before)
        targets.append(answer.ids[here].astype(np.int64))
        slots.append(number * width + here)
    return {
        "places": np.concatenate(places),
        "targets": np.concatenate(targets),
        "slots": np.concatenate(slots),
        "answer_lengths": np.array([len(answer.ids) for answer in answers], np.int64),
    }
