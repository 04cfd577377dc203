"""The checked records of one side of the split, and reading them from its sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from workbench.data.kinds import BY_NAME
from workbench.data.records.checking import CHECKS
from workbench.data.records.preferences import Uninformative
from workbench.data.records.prompt_records import PROMPTS
from workbench.data.records.reading import RecordSource
from workbench.data.records.schemes import scheme_of, to_iob2
from workbench.data.records.texts import BlankText, Checked
from workbench.data.scan import text_hash
from workbench.data.ticker import Progress, Ticker
from workbench.errors import DataError
from workbench.recipe import SourceSpec

CHECKING = "reading the records"
TEXTS = ("text", "text_pair", "question", "context")
READ = (*TEXTS, "tokens")
"""What a model reads of a record."""

PREFERENCES = ("ranking", "preference")
KINDS_OF: dict[str, tuple[str, ...]] = {
    "sft": ("conversation", "prompt_completion"),
    "reward": PREFERENCES,
    "dpo": PREFERENCES,
    "ppo": PROMPTS,
}
"""Of objectives that are not the name of one kind: which kinds they learn from."""


@dataclass
class SideRecords:
    """Checked records, `file:line` and source of each, and what is told about the sources.

    `blank` records had nothing to read, and `uninformative` ones, by reason, nothing to prefer: they are left
    out.
    """

    records: list[Checked] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    blank: int = 0
    repaired: int = 0
    uninformative: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.records)

    def take(self, numbers: Sequence[int]) -> SideRecords:
        """Some of the records."""
        return SideRecords(
            [self.records[n] for n in numbers],
            [self.places[n] for n in numbers],
            [self.sources[n] for n in numbers],
            self.told,
            self.blank,
            self.repaired,
            self.uninformative,
        )


def read_side(specs: Sequence[SourceSpec], objective: str, progress: Progress) -> SideRecords:
    """Every record of some sources, checked; those without text are left out and counted.

    `progress` hears of bytes of text. Raises `DataError` naming file and line.
    """
    side, ticker = SideRecords(), Ticker(progress, CHECKING)
    # All are looked for before any is read: a misspelt second name shows at once.
    for number, source in enumerate([RecordSource.find(spec) for spec in specs]):
        _read(source, number, objective, side, ticker)
    ticker.finish()
    return side


def _read(source: RecordSource, number: int, objective: str, side: SideRecords, ticker: Ticker) -> None:
    _check_kind(source, objective)
    check: Callable[..., Checked] = CHECKS[objective]
    begun, size, blank, uninformative = len(side), 0, 0, Counter[str]()
    for record in source.records():
        try:
            checked = check(record)
        except Uninformative as error:
            uninformative[error.reason] += 1
            continue
        except BlankText:
            blank += 1
            continue
        side.records.append(checked)
        side.places.append(record.where)
        side.repaired += any(record.values.get(name) != checked[name] for name in READ if name in checked)
        own = num_bytes(checked)
        size += own
        ticker.add(own)
    if len(side) == begun:
        raise nothing_in(source.spec.path, blank, uninformative)
    side.sources += [number] * (len(side) - begun)
    side.blank += blank
    side.uninformative += uninformative
    told = {"path": source.spec.path, "weight": source.spec.weight, "bytes": size}
    kind = source.detected.kind if objective in KINDS_OF else objective
    told |= {"documents": len(side) - begun, "kind": kind, "why": source.detected.why}
    if objective == "tagging":
        told["scheme"] = _one_scheme(side, begun)
    side.told.append(told)


def by_reason(uninformative: Counter[str]) -> str:
    """How many records tell no answer from another, in words."""
    return ", ".join(f"{count:,} with {reason}" for reason, count in uninformative.most_common())


def nothing_in(path: str, blank: int, uninformative: Counter[str]) -> DataError:
    """The error for a file without a record to learn from, or to judge by."""
    counts = [f"only {blank:,} blank ones"] if blank else []
    counts += [by_reason(uninformative)] if uninformative else []
    return DataError(
        f"the source holds no records: {', '.join(counts) or 'none at all'}",
        where=path,
        hint="name a source with answers of which one is better than another"
        if uninformative
        else "name a source with text in it",
    )


def _one_scheme(side: SideRecords, begun: int) -> str:
    """All tags of the last source in IOB2, and the scheme they were in."""
    own = side.records[begun:]
    scheme = scheme_of(
        [(record["tags"], place) for record, place in zip(own, side.places[begun:], strict=True)]
    )
    if scheme == "IOB1":
        for record in own:
            record["tags"] = to_iob2(record["tags"])
    return scheme


def _check_kind(source: RecordSource, objective: str) -> None:
    """Numbers may be labels, and whole numbers values; other kinds are not taken for one another."""
    kind = source.detected.kind
    kinds = KINDS_OF.get(objective, (objective,))
    if kind in kinds or {kind, objective} == {"classification", "regression"}:
        return
    wanted = kinds[-1]
    columns = ", ".join(f"{need}: COLUMN" for need in BY_NAME[wanted].needs)
    needs = " or with ".join(", ".join(BY_NAME[name].needs) for name in kinds)
    raise DataError(
        f"{objective} learns from records with {needs}; these are {kind}: {source.detected.why}",
        where=source.spec.path,
        hint=f"name the columns that hold what it needs: columns: {{{columns}}}",
    )


def num_bytes(record: Checked) -> int:
    """UTF-8 bytes of what a model reads of a record."""
    total = sum(len(record[name].encode()) for name in TEXTS if name in record)
    said = [record[name] for name in ("prompt", "completion", "messages") if name in record]
    total += sum(_size(value) for value in [*said, *record.get("completions", ())])
    return total + sum(len(token.encode()) + 1 for token in record.get("tokens", ()))


def _size(said: str | Sequence[dict[str, Any]]) -> int:
    """Bytes of text, or of messages."""
    return sum(len(text.encode()) for text in ([said] if isinstance(said, str) else _contents(said)))


def _contents(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


def input_hash(record: Checked) -> int:
    """Of what a model reads of a record, not of what it is to say."""
    prompt = [record["prompt"]] if "prompt" in record else []
    if "completions" in record and isinstance(record["prompt"], str):
        # The same prompt may be text in one record and a message in the next.
        prompt = [[{"role": "user", "content": record["prompt"]}]]
    if "messages" in record:
        # What stands before the first answer: one question with several answers is on one side of the split.
        messages, first = record["messages"], record["first"]
        said = next(n for n, one in enumerate(messages) if n >= first and one["role"] == "assistant")
        prompt = [record["tools"], *messages[:said]]
    return text_hash(orjson.dumps([record.get(name) for name in READ] + prompt))
