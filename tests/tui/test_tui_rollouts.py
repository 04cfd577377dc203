"""The rollouts pane: what stands where, with and without fine symbols, as the file grows and is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.store.runs import Run
from workbench.tui.train.rollouts_pane import WIDTH, RolloutsSource
from workbench.tui.widgets.text_lines import Line


def record(step: int, **changes: Any) -> bytes:
    values = {
        "step": step,
        "time": 0.0,
        "prompt": "ask:\nwhat",
        "pieces": ["a", " good", " film\n", "[b]\x1b", " end"],
        "kl": [0.0, 4.5, 0.6, -1.0, 1.2],
        "values": [0.1, 0.2, 0.3, 0.4, 0.5],
        "advantages": [0.0] * 5,
        "score": 0.75,
        "parts": {"model": 0.5, "pattern": None},
        "reward": 0.5,
        "ended": False,
    }
    return json.dumps(values | changes).encode() + b"\n"


def text_of(lines: list[Line] | None) -> list[str]:
    assert lines is not None
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("symbols", ["braille", "ascii"])
def test_tokens_stand_over_the_bars_of_their_kl(tmp_path: Path, symbols: str) -> None:
    run = Run(tmp_path)
    source = RolloutsSource(run, symbols)
    assert "No rollouts yet" in text_of(source.poll())[0]
    assert source.poll() is None
    run.rollouts_path.write_bytes(
        record(1) + b"{torn\n" + record(2, ended=True, values=[], score=None, kl=[0.0] * 5)
    )
    lines = source.poll()
    text = text_of(lines)
    assert text[0].startswith("KL of a token")
    # The newest iteration is on top.
    assert [line for line in text if line.startswith("iteration")] == ["iteration 2", "iteration 1"]
    begin = text.index("iteration 1")
    towards = "→" if symbols == "braille" else "to"
    assert text[begin + 1].endswith(f"not ended   value 0.10 {towards} 0.50")
    assert "score 0.75, model 0.5, pattern none   KL 5.30   reward 0.5   5 tokens" in text[begin + 1]
    assert text[begin + 2 : begin + 4] == ["  ask:", "  what"]
    fine = symbols == "braille"
    mark = "⏎" if fine else "\\n"
    assert text[begin + 4] == f"  a good film{mark}"
    high, low, fallen, one = ("█", "▂", "▔", "▄") if fine else ("#", ":", "'", "-")
    assert text[begin + 5] == "   " + high * 5 + low * len(f" film{mark}")
    # Nothing of what a model writes is markup or a control sequence.
    assert text[begin + 6] == "  [b]␛ end"
    assert text[begin + 7] == "  " + fallen * 4 + one * 4
    assert lines is not None
    roles = dict(lines[begin + 4])
    assert roles["a"] == "" and roles[" good"] == "bad" and roles[f" film{mark}"] == "good"
    assert "score none" in text[2] and "not ended" not in text[2] and "value" not in text[2]
    if not fine:
        assert all(line.isascii() for line in text if "␛" not in line)


def test_long_answers_are_broken_where_their_bars_are(tmp_path: Path) -> None:
    run = Run(tmp_path)
    pieces = [" word"] * 50
    run.rollouts_path.write_bytes(record(3, pieces=pieces, kl=[2.5] * 50, values=[]))
    text = text_of(RolloutsSource(run, "braille").poll())[5:]
    assert "".join(text[0::2]).replace("  ", "").replace(" ", "") == "word" * 50
    for words, bars in zip(text[0::2], text[1::2], strict=True):
        assert len(words) == len(bars) <= WIDTH + 2


def test_a_run_that_was_resumed_shows_what_it_wrote_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.rollouts_path.write_bytes(record(1) + record(2))
    source = RolloutsSource(run, "braille")
    assert "iteration 2" in text_of(source.poll())
    aside = tmp_path / "aside"
    aside.write_bytes(record(1))
    aside.replace(run.rollouts_path)
    assert "iteration 2" not in text_of(source.poll())
