"""What rankings amount to, as lines: how far annotators agree, which side wins, how strong each model is."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.store.preferences.database import Database
from workbench.store.preferences.judgements import Judgement, judgements
from workbench.store.preferences.sessions import find_session
from workbench.store.preferences.statistics.agreement import Agreement, agreement
from workbench.store.preferences.statistics.bootstrap import Interval
from workbench.store.preferences.statistics.consistency import (
    PositionBias,
    SelfAgreement,
    position_bias,
    self_agreement,
)
from workbench.store.preferences.statistics.leaderboard import Leaderboard, leaderboard
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain
from workbench.units import duration

METHODS = {"bradley-terry": "Bradley–Terry", "plackett-luce": "Plackett–Luce"}
NAME_WIDTH, BAR_WIDTH = 28, 30
NUMBERS_WIDTH = 50
"""What stands beside the name and the bar of a model."""


@dataclass(frozen=True)
class Person:
    """One annotator: judgements, the median seconds of those that were timed, and which side wins."""

    name: str
    judgements: int
    seconds: float | None
    bias: list[PositionBias]


@dataclass(frozen=True)
class Figures:
    """All that is known of a session."""

    judgements: int
    between: Agreement
    within: list[SelfAgreement]
    sides: list[PositionBias]
    people: list[Person]
    boards: list[Leaderboard] = field(default_factory=list)


def reckon(database: Database, session: str) -> Figures:
    """Reckon all of it; some seconds for thousands of judgements. Raises `WorkbenchError`."""
    made = judgements(database, find_session(database, session))
    names = sorted({judgement.annotator for judgement in made})
    return Figures(
        len(made),
        agreement(made),
        self_agreement(made),
        position_bias(made),
        [_person(name, [one for one in made if one.annotator == name]) for name in names],
        [leaderboard(made, "bradley-terry"), leaderboard(made, "plackett-luce")],
    )


def _person(name: str, made: Sequence[Judgement]) -> Person:
    times = [one.milliseconds / 1000 for one in made if one.milliseconds]
    return Person(name, len(made), statistics.median(times) if times else None, position_bias(made))


def agreement_lines(figures: Figures) -> list[Line]:
    """How far annotators agree with each other and with themselves, which side wins, how long it takes."""
    between = figures.between
    shared = f"{between.items:,} set{'' if between.items == 1 else 's'} of answers"
    # The bootstrap of a single set has no width: it would look certain.
    ranks, pairs = (between.ranks, between.pairs) if between.items > 1 else (None, None)
    too_few = "one set is too few to say" if between.items else "nobody judged the same answers yet"
    lines: list[Line] = [
        plain("Agreement between annotators", "title"),
        plain(
            f"{figures.judgements:,} judgements by {len(figures.people)}; {shared} judged by two or more",
            "dim",
        ),
        _named("Krippendorff's α of ranks", ranks, too_few),
        _named("Krippendorff's α of pairs", pairs, too_few),
        plain("1 is full agreement, 0 what chance gives; in brackets 95 % of the bootstrap", "dim"),
        (),
        plain("Agreement with oneself, on what came again with its sides swapped", "title"),
    ]
    if not figures.within:
        lines.append(plain("nothing came again yet", "dim"))
    lines += [
        _named(
            one.annotator, one.same, "", f"of {one.items:,} the same, {one.pairs:.0%} of pairs", share=True
        )
        for one in figures.within
    ]
    lines += [(), plain("Position: which place wins, from left to right", "title")]
    if not figures.sides:
        lines.append(plain("no judgement with one winner of which it is known how the answers stood", "dim"))
    for bias in figures.sides:
        lines += _bias_lines("all", bias)
    lines += [(), plain("Annotators", "title")]
    for person in figures.people:
        each = "not timed" if person.seconds is None else f"{duration(person.seconds)} each (median)"
        lines.append(plain(f"{reveal_control(person.name):<16} {person.judgements:>6,} judgements   {each}"))
        if len(figures.people) > 1:
            for bias in person.bias:
                lines += _bias_lines(" " * 4, bias)
    return lines


def _bias_lines(who: str, bias: PositionBias) -> list[Line]:
    wins = "  ".join(f"{win.value:4.0%}" for win in bias.wins)
    verdict = "bad" if bias.p_value < 0.01 else "warn" if bias.p_value < 0.05 else "dim"
    words = f"p = {bias.p_value:.2g} in {bias.items:,}"
    text = f"{who:<4} {bias.answers} answers   {wins}   "
    return [((text, ""), (f"each {bias.expected:.0%} without bias, {words}", verdict))]


def _named(
    name: str, interval: Interval | None, otherwise: str, behind: str = "", *, share: bool = False
) -> Line:
    head = (f"{reveal_control(name):<{NAME_WIDTH}}", "")
    if interval is None:
        return (head, (otherwise, "dim"))
    form = ".0%" if share else ".3f"
    told = f"{interval.value:{form}}"
    return (head, (told, "strong"), (f"  [{interval.low:{form}}, {interval.high:{form}}]  {behind}", "dim"))


def masks(figures: Figures) -> dict[str, str]:
    """Names of models that say nothing, the same in every list."""
    models = sorted({one.model for board in figures.boards for one in board.standings})
    order = [one.model for board in figures.boards[:1] for one in board.standings]
    return {
        model: f"model {number}" for number, model in enumerate([*order, *models], 1) if number <= len(order)
    }


def leaderboard_lines(figures: Figures, names: Mapping[str, str], symbols: str, width: int) -> list[Line]:
    """The models by strength, by both methods, in so many cells; `names` are what they are called."""
    lines: list[Line] = []
    shown = {
        one.model: names.get(one.model, one.model) for board in figures.boards for one in board.standings
    }
    longest = max((len(name) for name in shown.values()), default=0) + 1
    name_width = min(longest, max(12, width - NUMBERS_WIDTH - 6))
    bar = min(BAR_WIDTH, width - NUMBERS_WIDTH - name_width)
    for board in figures.boards:
        lines += [()] if lines else []
        lines.append(plain(METHODS[board.method], "title"))
        lines.append(
            plain(
                f"{board.judgements:,} judgements of {board.items:,} sets of answers; 400 points are odds of "
                "ten to one; in brackets 95 % of the bootstrap; pairs won, lost, tied",
                "dim",
            )
        )
        ends = [end for one in board.standings for end in (one.elo.low, one.elo.high)]
        for one in board.standings:
            name = reveal_control(shown[one.model])
            if len(name) >= name_width:
                name = name[: name_width - 2] + "…"
            fared = f"+{one.wins:,} −{one.losses:,} ={one.ties:,}"
            elo = one.elo
            lines.append(
                (
                    (f"{name:<{name_width}}", ""),
                    (f"{elo.value:5.0f} ", "strong"),
                    (f"[{elo.low:5.0f}, {elo.high:5.0f}]  ", "dim"),
                    (_whisker(elo, min(ends), max(ends), bar, symbols) if bar > 5 else "", "good"),
                    (f"  {fared}", "dim"),
                )
            )
        lines += [plain(reveal_control(_renamed(notice, names)), "warn") for notice in board.notices]
    return lines


def _renamed(notice: str, names: Mapping[str, str]) -> str:
    """A sentence with other names in the place of models', the longer first, which may hold others."""
    if not names:
        return notice
    known = "|".join(re.escape(model) for model in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{known})(?!\w)", lambda found: names[found.group()], notice)


def _whisker(interval: Interval, low: float, high: float, width: int, symbols: str) -> str:
    """An interval on a line from the lowest to the highest of all."""
    line, point = ("-", "o") if symbols == "ascii" else ("─", "●")
    scale = (width - 1) / (high - low) if high > low else 0.0
    first, middle, last = (
        round((end - low) * scale) for end in (interval.low, interval.value, interval.high)
    )
    cells = [line if first <= cell <= last else " " for cell in range(width)]
    cells[max(0, min(width - 1, middle))] = point
    return "".join(cells)
