"""The files of one small path: what is learnt from, what is asked, how the answers were ranked."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.cli.alignment.functions import Function, documented_functions
from workbench.cli.alignment.judge import Judge, words
from workbench.store.preferences.exchange.records import read_records, write_records

HELD_OUT = 200
"""Functions that nothing is learnt from: the win rates are of these."""
ASKED = 320
"""Functions of those learnt from that are asked about, for rankings."""
SEED = 7


@dataclass(frozen=True)
class Folder:
    """`<home>/alignment/<name>/`. The files follow from this Python alone, so writing them again changes
    nothing."""

    name: str

    @property
    def path(self) -> Path:
        """Where they lie."""
        return paths.home() / "alignment" / self.name

    @property
    def examples(self) -> Path:
        """Prompts with completions."""
        return self.path / "examples.jsonl"

    @property
    def asked(self) -> Path:
        """Prompts that are answered and ranked."""
        return self.path / "asked.jsonl"

    @property
    def prompts(self) -> Path:
        """Prompts of all examples, which PPO answers."""
        return self.path / "prompts.jsonl"

    @property
    def held_out(self) -> Path:
        """Prompts for the win rates."""
        return self.path / "held-out.jsonl"

    @property
    def rankings(self) -> Path:
        """What the judge made of the answers."""
        return self.path / "rankings.jsonl"

    @property
    def result(self) -> Path:
        """How the models fared, once the path has been walked to its end."""
        return self.path / "result.json"

    def judge(self) -> Judge:
        """The judge, who knows the words of all sentences of the examples."""
        known = (words(str(record["completion"])) for record, _ in read_records(self.examples))
        return Judge(frozenset(word for sentence in known for word in sentence))

    def write(self) -> int:
        """Write all but the rankings; how many examples there are. Raises `DataError`, `StorageError`."""
        found = documented_functions()
        random.Random(SEED).shuffle(found)
        held_out, learnt = found[:HELD_OUT], found[HELD_OUT:]
        paths.ensure_dir(self.path)
        write_records(self.examples, ({"prompt": one.prompt, "completion": one.sentence} for one in learnt))
        write_records(self.asked, _prompts(learnt[:ASKED]))
        write_records(self.prompts, _prompts(learnt))
        write_records(self.held_out, _prompts(held_out))
        return len(learnt)


def _prompts(functions: Sequence[Function]) -> Iterable[dict[str, Any]]:
    return ({"prompt": one.prompt} for one in functions)


def signature_of(prompt: str) -> str:
    """The function's first line, of a prompt."""
    return prompt.partition("\n")[0]
