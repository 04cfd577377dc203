"""Answers that came to nothing: kept, so that they are not asked for again and again. No torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench.errors import ServerError
from workbench.store.json_lines import LinesWriter, parsed, whole_lines
from workbench.store.preferences.contents import encoded

Key = tuple[int, str, str, int]
"""A prompt, a model, sampling parameters as JSON, and the how manieth answer."""


def key_of(prompt: int, model: str, sampling: Mapping[str, Any], sample: int) -> Key:
    """What tells an answer from all others of a session."""
    return prompt, model, encoded(dict(sampling)), sample


def read_failures(path: Path) -> list[dict[str, Any]]:
    """What failed, one record a request: `prompt`, `model`, `sampling`, `samples`, `error`, `time`.

    Raises `StorageError`.
    """
    return [record for _, line in whole_lines(path) if (record := parsed(line)) is not None]


class Failures:
    """What failed in a session, on disk and at hand. Raises `StorageError`."""

    def __init__(self, path: Path) -> None:
        self._writer = LinesWriter(path)
        self.keys: set[Key] = set()
        self.last = ""
        for record in read_failures(path):
            self._take(record)

    def add(
        self,
        prompt: int,
        model: str,
        sampling: Mapping[str, Any],
        samples: tuple[int, ...],
        error: ServerError,
    ) -> None:
        """Keep that a request came to nothing, and why."""
        record = {
            "prompt": prompt,
            "model": model,
            "sampling": dict(sampling),
            "samples": list(samples),
            "error": error.as_dict(),
            "time": time.time(),
        }
        self._writer.write(record)
        self._take(record)

    def prompts(self) -> set[int]:
        """The prompts that miss an answer."""
        return {key[0] for key in self.keys}

    def _take(self, record: Mapping[str, Any]) -> None:
        try:
            for sample in record["samples"]:
                self.keys.add(
                    key_of(int(record["prompt"]), str(record["model"]), record["sampling"], int(sample))
                )
            self.last = f"{record['model']}: {record['error']['message']}"
        except (KeyError, TypeError, ValueError):
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
