"""A column as plain values for the history, and back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any

from workbench.errors import WorkbenchError
from workbench.tui.playground.column import Column
from workbench.tui.playground.setup import Setup
from workbench.tui.widgets.text_lines import Span


def record_of(column: Column) -> dict[str, Any]:
    """All that was sent and came back, without the tokens' probabilities, which are many times the text."""
    return {
        "setup": column.setup.as_json(),
        "earlier": list(column.earlier),
        "state": column.state,
        "technique": column.technique,
        "chains": [
            {
                "number": chain.number,
                "log": joined(chain.log),
                "answer": chain.answer,
                "finish": chain.finish,
            }
            for chain in column.chains.values()
        ],
        "chain": column.chain,
        "messages": list(column.messages),
        "steps": [
            [step.kind, step.title, dict(step.content), step.chain, step.seconds] for step in column.steps
        ],
        "tokens": column.num_tokens,
        "first_seconds": column.first_seconds,
        "rate": column.rate,
        "error": column.error.as_dict() if column.error else None,
    }


def column_of(question: str, record: Mapping[str, Any]) -> Column:
    """A column as it stood at its end; of a damaged record as much as can be read."""
    column = Column(Setup.from_json(record.get("setup")))
    column.begin(question, tuple(record.get("earlier") or ()))
    column.state = "cancelled"
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        _fill(column, record)
    return column


def _fill(column: Column, record: Mapping[str, Any]) -> None:
    from workbench.prompting.technique import Step

    column.messages = tuple(record.get("messages") or ())
    state = record.get("state")
    column.state = state if state in ("done", "cancelled", "failed") else "cancelled"
    column.technique = str(record.get("technique") or "")
    for kept in record.get("chains") or ():
        chain = column.chain_of(int(kept["number"]))
        chain.log = [(str(text), str(role)) for text, role in kept.get("log") or ()]
        chain.text = "".join(text for text, role in chain.log if not role)
        chain.answer, chain.finish = kept.get("answer"), str(kept.get("finish") or "")
        chain.complete = True
    column.chain = int(record.get("chain") or 0)
    column.steps = [Step(*kept) for kept in record.get("steps") or ()]
    column.known_tokens, column.known_rate = record.get("tokens"), record.get("rate")
    column.known_first = record.get("first_seconds")
    if error := record.get("error"):
        column.error = WorkbenchError(error["message"], where=error["where"], hint=error["hint"])
        column.error.title = error["title"]
    column.notes = [step.title for step in column.steps if step.kind == "note"]


def joined(log: list[Span]) -> list[Span]:
    """The same text in as few pieces as its roles allow."""
    return [
        ("".join(text for text, _ in group), role) for role, group in groupby(log, key=lambda span: span[1])
    ]
