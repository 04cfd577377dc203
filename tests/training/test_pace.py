"""How often runs evaluate and save that do not say it."""

from __future__ import annotations

import pytest

from workbench.recipe import TrainingSection
from workbench.training.pace import SaveTimes, steps_between_evaluations


def test_evaluations_are_twenty_a_run_and_fewer_in_a_short_one() -> None:
    usual = TrainingSection()
    found = [steps_between_evaluations(usual, steps) for steps in (1, 4, 20, 100, 200, 4000)]
    assert found == [1, 1, 5, 10, 10, 200]
    assert [steps_between_evaluations(usual, steps, least=1) for steps in (4, 60)] == [1, 3]
    assert steps_between_evaluations(TrainingSection(eval_steps=7), 20) == 7


def test_a_checkpoint_nobody_asked_for_waits_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("workbench.training.pace.time.monotonic", lambda: now[0])
    times, asked = SaveTimes(TrainingSection(), 30), SaveTimes(TrainingSection(save_steps=4), 30)
    assert not times.due(3) and asked.due(4)
    now[0] += 60
    assert times.due(3) and not times.due(4)
    times.wrote()
    now[0] += 59
    assert not times.due(6)
    now[0] += 1
    assert times.due(9)
