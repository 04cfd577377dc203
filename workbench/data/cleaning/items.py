"""A record on its way through the steps: its texts, whatever kind it is of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from datatrove.data import Document

from workbench.data.records.texts import sound

Path = tuple[str | int, ...]

TEXT_COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "classification": ("text", "text_pair"),
    "regression": ("text", "text_pair"),
    "conversation": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "prompt": ("prompt",),
    "binary_feedback": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "ranking": ("prompt", "completions"),
    "span_extraction": ("question", "context"),
    "tagging": ("tokens",),
}
"""Where the texts of each kind of record stand; what is there may be text, messages, or lists of them."""

FIXED = ("span_extraction", "tagging")
"""Kinds whose labels count characters or words, so that their texts cannot be changed."""

LABELS: dict[str, str] = {
    "classification": "label",
    "regression": "label",
    "binary_feedback": "label",
    "ranking": "ranks",
    "span_extraction": "answers",
    "tagging": "tags",
}
"""The column that says something of the texts: the same texts with another are another record."""

BETWEEN = "\n\n"


class Item(Document):
    """One record: a document to datatrove, whose text is all its texts, a blank line between two.

    Steps read `text` or `texts`, and change the latter by `edit`.
    """

    def __init__(
        self, values: dict[str, Any], kind: str, source: int = 0, where: str = "", language: str = ""
    ) -> None:
        self.values, self.kind, self.source, self.where = values, kind, source, where
        self.language = language
        self._paths: list[Path] = [
            path for column in TEXT_COLUMNS[kind] for path in _paths(values.get(column), (column,))
        ]
        self.texts: list[str] = [sound(_get(values, path)) for path in self._paths]
        self._joined: str | None = None
        self.id = where
        self.media: list[Any] = []
        self.metadata: dict[str, Any] = {}

    @property
    def can_change(self) -> bool:
        """Whether its texts may be edited without breaking its labels."""
        return self.kind not in FIXED

    @property
    def text(self) -> str:
        if self._joined is None:
            self._joined = joined(self.texts, " " if self.kind == "tagging" else BETWEEN)
        return self._joined

    @property
    def compared(self) -> str:
        """The text that tells near copies: without system messages, for many conversations begin with one."""
        if self.kind in ("text", "tagging"):
            return self.text
        return self.compared_of() or joined(self.texts)

    def compared_of(self, *columns: str) -> str:
        """The texts of some columns, or all, without system messages."""
        return joined(
            [
                text
                for path, text in zip(self._paths, self.texts, strict=True)
                if (not columns or path[0] in columns) and not self._is_system(path)
            ]
        )

    @property
    def labelled(self) -> str:
        """The text that the label is of: of a preference whichever of its answers was chosen."""
        if self.kind != "preference":
            return self.text
        prompt, *answers = self._parts()
        return joined([prompt, *sorted(answers, key=loosely)])

    @property
    def label(self) -> str:
        """What is said of the texts, as JSON; nothing where the kind has no labels. Of a preference, which of
        its answers was chosen."""
        if self.kind == "preference":
            _, chosen, rejected = map(loosely, self._parts())
            return json.dumps(chosen > rejected)
        column = LABELS.get(self.kind)
        if column is None or self.values.get(column) is None:
            return ""
        value = self.values[column]
        if self.kind == "span_extraction" and isinstance(value, dict):
            value = value.get("text")  # where it begins follows from the context, whose blanks may differ
        return json.dumps(value, sort_keys=True, default=str)

    def _parts(self) -> list[str]:
        """The text of each column."""
        return [
            joined([text for path, text in zip(self._paths, self.texts, strict=True) if path[0] == column])
            for column in TEXT_COLUMNS[self.kind]
        ]

    def _is_system(self, path: Path) -> bool:
        value: Any = self.values
        for key in path:
            value = value[key]
            if isinstance(value, dict) and value.get("role") == "system":
                return True
        return False

    def edit(self, change: Callable[[str], str]) -> bool:
        """Put each text through a function; whether any is another now."""
        changed = [change(text) for text in self.texts]
        if changed == self.texts:
            return False
        self.texts, self._joined = changed, None
        return True

    def restore(self, texts: list[str]) -> None:
        """Take back what a step edited."""
        self.texts, self._joined = texts, None

    def has_lost_a_part(self, before: list[str]) -> bool:
        """Whether nothing is left of one of several texts that held something: of a prompt, answer, turn."""
        return len(before) > 1 and any(
            old.strip() and not new.strip() for old, new in zip(before, self.texts, strict=True)
        )

    def cleaned(self) -> dict[str, Any]:
        """The record with the texts as they are now."""
        for path, text in zip(self._paths, self.texts, strict=True):
            if _get(self.values, path) != text:
                _set(self.values, path, text)
        return self.values


def joined(texts: list[str], between: str = BETWEEN) -> str:
    """The texts of a record as one."""
    return texts[0] if len(texts) == 1 else between.join(texts)


def loosely(text: str) -> str:
    """A text in lower-case words with one blank between: the same for copies that differ in no more."""
    return " ".join(text.lower().split())


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """The places of all texts in a value: itself, or those of a list, of messages, of parts of messages."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _paths(part, (*path, number))
    elif isinstance(value, dict):
        for key in ("content", "text"):
            if key in value:
                yield from _paths(value[key], (*path, key))


def _get(values: Any, path: Path) -> str:
    for key in path:
        values = values[key]
    return str(values)


def _set(values: Any, path: Path, text: str) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = text
