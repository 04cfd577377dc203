"""The Train tab's held-out pane: a reward model's last evaluation, and words where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workbench.objectives.reward.report import Scored, report
from workbench.store.runs import Run
from workbench.tui.app import WorkbenchApp
from workbench.tui.train.held_out_pane import HeldOutSource

PREDICTIONS = [
    Scored([float(n % 3), 0.5, float(n) / 20], [1 + n % 2, 2 - n % 2, 3], [3, 9, 5]) for n in range(30)
]


def line_of(step: int) -> bytes:
    return orjson.dumps({"step": step, **report(PREDICTIONS)}, option=orjson.OPT_APPEND_NEWLINE)


def text_in(lines: Any) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_newest_report_is_shown_and_what_is_damaged_passed_over(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = HeldOutSource(run, "ascii")
    assert "No report yet" in text_in(source.poll())
    run.evaluations_path.write_bytes(line_of(3) + b'{"step": 4\n[]\n')
    text = text_in(source.poll())
    assert text.startswith("step 3\n") and "90 pairs of 30 prompts" in text
    assert text.count("#") > 0 and text.isascii()
    assert source.poll() is None
    with run.evaluations_path.open("ab") as file:
        file.write(line_of(6))
    assert text_in(source.poll()).startswith("step 6\n")
    run.evaluations_path.write_bytes(b'{"kind": "reward", "step": 7, "pairs": 1}\n')
    assert "cannot be read" in text_in(source.poll())


def test_every_line_of_a_report_fits_80_columns(tmp_path: Path) -> None:
    Run(tmp_path).evaluations_path.write_bytes(line_of(3))
    lines = text_in(HeldOutSource(Run(tmp_path), "block").poll()).splitlines()
    prose = [line for line in lines if line.startswith("Over")]
    assert all(len(line) <= 80 for line in lines if line not in prose)
    counts = [int(line[8:17].replace(",", "")) for line in lines[lines.index("from       answers") + 1 :]]
    assert sum(counts) == int(np.sum([len(scored.rewards) for scored in PREDICTIONS]))


async def test_a_key_shows_it(make_run: Any, size: tuple[int, int], until: Any, text_of: Any) -> None:
    run = make_run("judge", steps=6, max_steps=6)
    run.evaluations_path.write_bytes(line_of(6))
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "judge" in text_of(app))
        await pilot.press("h")
        await until(pilot, lambda: "the longer" in text_of(app))
