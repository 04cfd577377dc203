"""The rollouts pane: answers of the newest iterations, token by token, with what each token's KL is.

Colour says how far a token was from what the reference would have written, and the line below says it again
in bars, for eyes and terminals without colours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from workbench.store.runs import Run
from workbench.tui.text import reveal_control
from workbench.tui.train.sources import GrowingFile
from workbench.tui.widgets.text_lines import Line, Span, plain

FIRST_BYTES = 1 << 19
MAXIMUM_ROLLOUTS = 200
WIDTH = 72
"""Cells of a line of an answer: bars must stand below their tokens, so lines are broken here and not by the
pane, as far as it is wide enough."""

STEPS = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Nats from which on a bar is higher. One nat: the policy finds the token 2.7 times as likely."""
BARS = {True: " ▁▂▄▆█", False: " .:-=#"}
BELOW = {True: "▔", False: "'"}
"""A token that has become less likely than the reference finds it, by half a nat or more."""
FALLEN = -0.5


@dataclass(frozen=True)
class Rollout:
    """One answer as the file has it."""

    step: int
    prompt: str
    pieces: tuple[str, ...]
    kl: tuple[float, ...]
    score: float | None
    reward: float | None
    parts: tuple[tuple[str, float | None], ...]
    values: tuple[float, ...]
    ended: bool


class RolloutsSource:
    """The last rollouts of a run."""

    def __init__(self, run: Run, symbols: str) -> None:
        self._file = GrowingFile(run.rollouts_path, FIRST_BYTES)
        self._fine = symbols != "ascii"
        self._rollouts: list[Rollout] = []

    def poll(self) -> list[Line] | None:
        new = self._file.new_lines()
        if new is None:
            return None
        lines, fresh = new
        found = [rollout for rollout in map(read_rollout, lines) if rollout is not None]
        self._rollouts = [*([] if fresh else self._rollouts), *found][-MAXIMUM_ROLLOUTS:]
        if not self._rollouts:
            return [
                plain("No rollouts yet. Runs of the objective ppo write them, iteration by iteration.", "dim")
            ]
        return [*legend(self._fine), *self._lines()]

    def _lines(self) -> list[Line]:
        lines: list[Line] = []
        for step in sorted({rollout.step for rollout in self._rollouts}, reverse=True):
            own = [rollout for rollout in self._rollouts if rollout.step == step]
            lines.append(plain(f"iteration {step}", "title"))
            for rollout in own:
                lines += lines_of(rollout, self._fine)
        return lines


def legend(fine: bool) -> list[Line]:
    """What the colours and bars mean."""
    bars = BARS[fine]
    marks = [f"{bars[number]} {least:g}" for number, least in enumerate(STEPS, 1)]
    return [
        (
            ("KL of a token in nats, from: ", "dim"),
            ("  ".join(marks), ""),
            (f"   {BELOW[fine]} likelier before", "dim"),
        )
    ]


def lines_of(rollout: Rollout, fine: bool) -> list[Line]:
    """An answer: what it is worth, its prompt, its tokens over their bars."""
    kl, count = sum(rollout.kl), len(rollout.pieces)
    parts = "".join(f", {name} {_shown(value)}" for name, value in rollout.parts if len(rollout.parts) > 1)
    head = (
        ("▶ " if fine else "> ", "key"),
        (f"score {_shown(rollout.score)}", "good" if (rollout.score or 0) > 0 else "warn"),
        (f"{parts}   KL {kl:.2f}   reward {_shown(rollout.reward)}   {count} tokens", ""),
        ("" if rollout.ended else "   not ended", "bad"),
        (_values(rollout.values, "→" if fine else "to"), "dim"),
    )
    prompt = [plain(f"  {reveal_control(part)}", "dim") for part in rollout.prompt.split("\n")]
    return [head, *prompt, *_tokens(rollout, fine)]


def _values(values: tuple[float, ...], towards: str) -> str:
    return f"   value {values[0]:.2f} {towards} {values[-1]:.2f}" if values else ""


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _tokens(rollout: Rollout, fine: bool) -> list[Line]:
    """Tokens, and below each line of them the bars."""
    lines: list[Line] = []
    text: list[Span] = []
    bars, width = "", 0

    def flush() -> None:
        nonlocal text, bars, width
        if text:
            lines.append((("  ", ""), *text))
            if bars.strip():
                lines.append(plain(f"  {bars.rstrip()}", "dim"))
        text, bars, width = [], "", 0

    for piece, kl in zip(rollout.pieces, rollout.kl, strict=False):
        shown = reveal_control(piece.replace("\n", "⏎" if fine else "\\n"))
        cells = cell_len(shown)
        if width and width + cells > WIDTH:
            flush()
        text.append((shown, role_of(kl)))
        bars += mark_of(kl, fine) * cells if shown.strip() else " " * cells
        width += cells
        if "\n" in piece:
            flush()
    flush()
    return lines


def role_of(kl: float) -> str:
    """The role, and so the colour, of a token with this KL; bold where it is much."""
    if kl <= FALLEN:
        return "key"
    if kl < STEPS[1]:
        return ""
    return "good" if kl < STEPS[2] else "warn" if kl < STEPS[3] else "bad"


def mark_of(kl: float, fine: bool) -> str:
    """The bar of a token with this KL."""
    if kl <= FALLEN:
        return BELOW[fine]
    return BARS[fine][sum(kl >= least for least in STEPS)]


def read_rollout(raw: bytes) -> Rollout | None:
    """One line of the file; None for one that is damaged or of another kind."""
    try:
        record: dict[str, Any] = json.loads(raw)
        return Rollout(
            int(record["step"]),
            str(record["prompt"]),
            tuple(map(str, record["pieces"])),
            tuple(map(float, record["kl"])),
            _number(record["score"]),
            _number(record.get("reward")),
            tuple((str(name), _number(value)) for name, value in record.get("parts", {}).items()),
            tuple(map(float, record.get("values", ()))),
            bool(record["ended"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
