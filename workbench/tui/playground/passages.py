"""Passages that were retrieved: where each stands, why it was found, and whether the answer cites it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.tui.playground.column import Column
from workbench.tui.playground.stream_lines import lines_of
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

NOTHING = [
    plain("No passages: the technique does not search documents.", "dim"),
    plain("t chooses the technique; switch Retrieval on and name a collection.", "dim"),
    plain("I makes a collection out of a folder of documents.", "dim"),
]


def citations_of(column: Column) -> Mapping[str, Any] | None:
    """What the shown chain cites, as it was checked."""
    for step in reversed(column.steps):
        found = step.content.get("citations") if step.kind == "note" else None
        if isinstance(found, Mapping) and (step.chain or 0) == column.chain:
            return found
    return None


def cited_lines(column: Column) -> list[Line]:
    """The places that an answer cites, one line each."""
    citations = citations_of(column)
    if citations is None:
        return []
    lines: list[Line] = [
        ((f"[{entry['number']}] ", "key"), (reveal_control(str(entry["source"])), "good"))
        for entry in citations["cited"]
    ]
    lines += [plain(f"[{number}] is no passage that it was given", "bad") for number in citations["unknown"]]
    return lines


def passage_lines(column: Column, symbols: str) -> list[Line]:
    """All passages with their scores."""
    step = column.last_step("passages")
    if step is None:
        return NOTHING if not column.busy else []
    content = step.content
    citations = citations_of(column)
    cited = {entry["number"] for entry in citations["cited"]} if citations else set()
    query = reveal_control(str(content.get("query")))
    lines: list[Line] = [
        (("collection  ", "dim"), (reveal_control(str(content.get("collection"))), "")),
        (("query       ", "dim"), (query, "")),
    ]
    if content.get("without_dense"):
        lines.append(plain(reveal_control(str(content["without_dense"])), "warn"))
    for passage in content.get("passages", ()):
        number = passage["number"]
        mark = ("  cited", "good") if number in cited else ("  not cited", "dim") if citations else ("", "")
        lines += [(), ((f"[{number}] ", "key"), (reveal_control(passage["source"]), "title"), mark)]
        lines.append(plain("    " + scores_of(passage), "dim"))
        if passage.get("headings"):
            lines.append(plain("    " + reveal_control(" › ".join(passage["headings"])), "dim"))
        lines += lines_of([(str(passage["text"]).rstrip(), "")])
    if left := content.get("left_out"):
        lines += [(), plain(f"{len(left)} more were found and did not fit into the budget:", "dim")]
        lines += [plain(f"    {reveal_control(str(passage['source']))}", "dim") for passage in left]
    return lines


def scores_of(passage: Mapping[str, Any]) -> str:
    """The fused score, and the rank and score that each retriever gave."""
    words = [f"score {passage['score']:.4f}"]
    for name, rank in passage.get("ranks", {}).items():
        words.append(f"{name} #{rank} ({passage['scores'][name]:.3g})")
    return " · ".join(words)
