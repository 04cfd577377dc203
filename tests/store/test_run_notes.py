"""What curves say in words: a falling reward of the chosen answers is explained, and only that."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from workbench.store.metrics import MetricsTail, read_metrics
from workbench.store.run_notes import notes_on


def metrics(folder: Path, chosen: list[float], rejected: list[float]) -> MetricsTail:
    path = folder / "metrics.jsonl"
    lines = [
        {"step": step, "time": step, "rewards/chosen": good, "rewards/rejected": bad}
        for step, (good, bad) in enumerate(zip(chosen, rejected, strict=True), 1)
    ]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return read_metrics(path)


def test_a_chosen_reward_that_falls_behind_a_growing_margin_is_no_fault(tmp_path: Path) -> None:
    tail = metrics(tmp_path, [-0.1 * n for n in range(16)], [-0.3 * n for n in range(16)])
    (note,) = notes_on("dpo", tail)
    assert note.startswith("rewards/chosen has fallen to -1.35:")
    assert "to -4.05, so the margin of 2.7" in note and "no fault by itself" in note
    assert "objective.nll_coefficient=1" in note
    assert not notes_on("sft", tail)


def test_a_chosen_reward_that_falls_alone_is_a_fault(tmp_path: Path) -> None:
    (note,) = notes_on("dpo", metrics(tmp_path, [-0.1 * n for n in range(16)], [0.0] * 16))
    assert "nothing is learnt yet" in note


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ([0.1 * n for n in range(16)], [-0.1 * n for n in range(16)]),  # as it should be
        ([-0.005 * n for n in range(16)], [-0.3 * n for n in range(16)]),  # hardly a fall
        ([-0.1 * n for n in range(7)], [-0.3 * n for n in range(7)]),  # too early to say
        ([-2 + 0.1 * n for n in range(16)], [-3.0] * 16),  # on its way up again
    ],
)
def test_of_other_curves_nothing_is_said(tmp_path: Path, chosen: list[float], rejected: list[float]) -> None:
    assert not notes_on("dpo", metrics(tmp_path, chosen, rejected))
