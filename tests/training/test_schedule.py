"""Learning rates against transformers' own schedules, and their exact ends."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from workbench.recipe import TrainingSection
from workbench.training.schedule import learning_rate, warmup_steps


def rates(section: TrainingSection, steps: int) -> list[float]:
    return [learning_rate(section, step, steps) for step in range(steps)]


def reference(kind: str, warm: int, steps: int, peak: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    make = {"cosine": get_cosine_schedule_with_warmup, "linear": get_linear_schedule_with_warmup}[kind]
    schedule = make(optimizer, warm, steps)
    values = []
    for _ in range(steps + 1):
        values.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return values


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_decay_is_that_of_transformers(kind: str) -> None:
    # Ours reaches the floor at the last step that is taken, theirs one later; with a warm-up of w
    # steps theirs starts at 0, ours at 1/w. So ours over n steps is theirs over n − 1 from the peak on.
    section = TrainingSection.model_validate(
        {"learning_rate": 3.0, "lr_scheduler_type": kind, "warmup_steps": 0, "min_lr_ratio": 0.0}
    )
    assert rates(section, 41) == pytest.approx(reference(kind, 0, 40, 3.0), abs=1e-12)


def test_warm_up_rises_evenly_to_the_peak() -> None:
    section = TrainingSection(learning_rate=1.0, warmup_steps=4, lr_scheduler_type="constant")
    assert rates(section, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_wsd_stays_then_falls_linearly_to_the_floor() -> None:
    section = TrainingSection(
        learning_rate=1.0, lr_scheduler_type="wsd", decay_ratio=0.4, min_lr_ratio=0.1, warmup_steps=2
    )
    values = rates(section, 10)
    assert values[:2] == [0.5, 1.0]
    assert values[2:6] == [1.0] * 4
    assert values[-1] == pytest.approx(0.1)
    falls = [a - b for a, b in zip(values[5:], values[6:], strict=False)]
    assert falls == pytest.approx([0.225] * 4)


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_the_last_step_is_at_the_floor_and_none_is_negative(kind: str, steps: int) -> None:
    section = TrainingSection.model_validate(
        {"learning_rate": 1.0, "lr_scheduler_type": kind, "min_lr_ratio": 0.1}
    )
    values = rates(section, steps)
    assert all(0 < value <= 1 for value in values)
    if steps > 2:
        assert values[-1] == pytest.approx(0.1)


def test_the_ratio_of_warm_up_rounds_up_and_steps_go_before_it() -> None:
    assert warmup_steps(TrainingSection(warmup_ratio=0.03), 100) == math.ceil(3)
    assert warmup_steps(TrainingSection(warmup_ratio=0.03, warmup_steps=7), 100) == 7
    assert warmup_steps(TrainingSection(warmup_steps=700), 100) == 100
