"""A vote while it is held: the histogram of the answers, and what each chain says."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from workbench.tui.playground.column import Column
from workbench.tui.text import meter, reveal_control
from workbench.tui.widgets.text_lines import Line, plain

NOTHING = [
    plain("No vote: the technique asks once.", "dim"),
    plain("t chooses the technique; switch Self-consistency on.", "dim"),
]
LONGEST_LABEL = 24


def vote_lines(column: Column, width: int, symbols: str) -> list[Line]:
    """The histogram, the leading answer first, and the chains in a line each."""
    vote = column.vote
    if vote is None:
        return _chain_lines(column, width, symbols) or (NOTHING if not column.busy else [])
    votes = vote["votes"]
    labels = [reveal_control(str(entry["answer"])) for entry in votes] + ["no answer"]
    room = min(LONGEST_LABEL, max(cell_len(label) for label in labels))
    bar = max(6, min(40, width - room - 16))
    most = max([entry["share"] for entry in votes], default=1.0)
    lines: list[Line] = [_standing(column), ()]
    for number, (entry, label) in enumerate(zip(votes, labels, strict=False)):
        role = "good" if number == 0 else ""
        count = f" {entry['count']:>4} {entry['share']:>4.0%}"
        filled = meter(entry["share"] / most, bar, symbols)
        lines.append(((_cell(label, room), role), (f" {filled}", "key" if number == 0 else ""), (count, "")))
    if vote.get("without_answer"):
        lines.append(
            ((_cell("no answer", room), "dim"), (" " * (bar + 1), ""), (f" {vote['without_answer']:>4}", ""))
        )
    return [*lines, (), *_chain_lines(column, width, symbols)]


def _standing(column: Column) -> Line:
    vote = column.vote or {}
    words = f"{vote['finished']} of {vote['of']} chains"
    if column.busy:
        end = "decided" if vote["decided"] else "going on"
    else:
        end = "a tie, which the earliest chain decides" if vote["tied"] else "decided"
        if vote["finished"] < vote["of"]:
            end += f"; {vote['of'] - vote['finished']} were not needed"
    weighed = " · by probability" if vote.get("weighted") else ""
    return (
        (f"agreement {vote['agreement']:.0%}", "title"),
        (f" · {words}{weighed} · {end}", ""),
    )


def _chain_lines(column: Column, width: int, symbols: str) -> list[Line]:
    if len(column.chains) < 2:
        return []
    pointer = ">" if symbols == "ascii" else "▸"
    lines: list[Line] = [plain("chains  ([ and ] go through them)", "title")]
    for chain in column.chains.values():
        here = chain.number == column.chain
        none = "–" if chain.complete else "…" if column.busy else "cut off"
        answer = none if chain.answer is None else reveal_control(chain.answer)
        end = reveal_control(" ".join(chain.text.split()))[-max(8, width - 34) :]
        role = "good" if here else ""
        lines.append(
            (
                (f"{pointer if here else ' '}{chain.number + 1:>3}  ", "key"),
                (_cell(answer, 16), role),
                (f" {chain.pieces or '':>5}  ", "dim"),
                (end, "dim"),
            )
        )
    return lines


def _cell(text: str, width: int) -> str:
    return set_cell_size(text, width - 1) + "…" if cell_len(text) > width else set_cell_size(text, width)
