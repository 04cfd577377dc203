"""The guard's parts on numbers made here: what is an alarm, what is none, what is written down."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from workbench.errors import TrainingError
from workbench.objectives import Totals
from workbench.recipe.stability_section import StabilitySection
from workbench.store.runs import Run
from workbench.training.checkpoint import STATE_FILE
from workbench.training.guard import Guard
from workbench.training.guarding import rollback
from workbench.training.guarding.alarm import Alarm
from workbench.training.guarding.layers import SAMPLE, LayerMonitor, _sample, groups_of
from workbench.training.guarding.ledger import RECENT_STEPS, REPEAT_STEPS, Ledger
from workbench.training.guarding.losses import Finding, LossWatch, Outlier
from workbench.training.guarding.record import SCALES_TOLD, Record
from workbench.training.guarding.watch import StepWatch
from workbench.training.state import TrainState


def watch() -> LossWatch:
    return LossWatch(window=256, threshold=6.0, patience=3)


def falling(steps: int, *, seed: int, noise: float = 0.05) -> list[float]:
    """A loss as of language models: from 8 towards 3, with noise."""
    dice = random.Random(seed)
    return [3 + 5 * math.exp(-step / 60) + dice.gauss(0, noise) for step in range(steps)]


def seen(losses: Sequence[float], guard: LossWatch | None = None) -> list[tuple[int, Finding | Outlier]]:
    guard = guard or watch()
    found = [(step, guard.observe(step, loss)) for step, loss in enumerate(losses, 1)]
    return [(step, one) for step, one in found if one is not None]


def test_ordinary_losses_of_many_kinds_raise_nothing() -> None:
    for seed in range(12):
        dice = random.Random(seed)
        curves = [
            falling(600, seed=seed, noise=(0.02, 0.2, 0.6)[seed % 3]),
            # Small batches of a classifier: heavy tails over a small loss, mislabelled examples now and then.
            [dice.expovariate(1) ** 2 * 0.1 + 2 * (dice.random() < 0.03) for _ in range(600)],
            # Rewards and margins: a level, and a Cauchy scatter.
            [math.tan(1.5 * (dice.random() - 0.5)) for _ in range(600)],
            # Batches of like length: each of three kinds has its own loss.
            [3 + (0.0, 0.4, 0.9)[dice.randrange(3)] + dice.gauss(0, 0.05) for _ in range(600)],
            # A warm-up that begins with a bump.
            [7.6 + 0.4 * math.exp(-((step - 30) ** 2) / 200) - step / 300 for step in range(600)],
        ]
        for curve in curves:
            assert [one for _, one in seen(curve) if isinstance(one, Finding)] == []


def test_a_rare_class_in_small_batches_is_no_alarm() -> None:
    """A batch has one record of it, or two, or none: a few values, which grow as the model gets surer."""
    for seed in range(60):
        dice, guard = random.Random(seed), watch()
        for step in range(1, 701):
            rare = 0.08 + 0.42 * math.exp(-step / 30)
            drawn = (rare if dice.random() < 0.08 else 1 - rare for _ in range((1, 2, 4)[seed % 3]))
            loss = sum(-math.log(p) for p in drawn)
            assert not isinstance(guard.observe(step, loss), Finding), (seed, step)


@pytest.mark.parametrize("rise", [1.0, 3.0, 40.0])
def test_a_rise_that_stays_is_found_within_five_steps(rise: float) -> None:
    for onset in (70, 200, 400):
        losses = falling(500, seed=onset)
        damaged = [loss + (rise if step >= onset else 0.0) for step, loss in enumerate(losses, 1)]
        step, found = seen(damaged)[0]
        assert isinstance(found, Finding) and found.kind == "loss_spike"
        # The third, and while little is known of what is usual the fifth.
        assert found.onset == onset and step == onset + (4 if onset == 70 else 2)
        assert found.level < found.limit < found.loss


@pytest.mark.parametrize("seed", [56, 77, 85])
def test_chance_is_no_alarm_while_little_is_known(seed: int) -> None:
    # Three in a row among the four largest of so few: a log-normal loss has that once in a hundred runs.
    dice = random.Random(seed)
    losses = [math.exp(dice.gauss(0, 1)) for _ in range(110)]
    assert [one for _, one in seen(losses) if isinstance(one, Finding)] == []


def test_the_last_steps_leave_a_doubt_where_two_were_high() -> None:
    losses = falling(300, seed=1)
    # The third is raised, and no more.
    for rise, suspicious, high, doubtful in (
        ([], False, False, False),
        ([0.25], True, False, False),
        ([9.0], True, True, False),
        ([9.0, 9.0], True, True, True),
    ):
        guard = watch()
        assert seen([*losses, *(losses[-1] + more for more in rise)], guard) == []
        assert (guard.is_suspicious, guard.is_high, guard.is_doubtful) == (suspicious, high, doubtful)


def test_what_has_been_told_of_the_loss_scale_is_part_of_the_state(tmp_path: Path) -> None:
    section = StabilitySection()
    first, second = (Guard(section, Record(Run(tmp_path), section, enabled=False), 1e-3) for _ in range(2))
    for step in range(1, 31):
        first.see_scale(step, 2.0, 1.0)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.record.scales_told == SCALES_TOLD and second.skipped_updates == 30
    second.load_state_dict({})
    assert second.record.scales_told == 0


def test_logits_that_were_not_seen_do_not_grow() -> None:
    told: list[float] = []
    ledger, nothing = Ledger(), -math.inf
    guard = SimpleNamespace(scale=None, ledger=ledger, see_logits=lambda step, mean: told.append(mean))
    of_step: Any = SimpleNamespace(
        monitor=None, guard=guard, trainer=SimpleNamespace(state=SimpleNamespace(step=3))
    )
    of_step._count = StepWatch._count
    for peak, total in ((nothing, 0.0), (9.0, 30.0)):
        StepWatch.metrics(of_step, Totals({}, {"loss": 10}, {"logsumexp": total}, {"logsumexp": peak}))
    assert told == [3.0]


def test_a_rise_of_a_few_deviations_is_found_when_five_steps_show_it() -> None:
    for onset in (200, 400):
        losses = falling(500, seed=onset, noise=0.12)
        damaged = [loss + (0.55 if step >= onset else 0.0) for step, loss in enumerate(losses, 1)]
        step, found = seen(damaged)[0]
        assert isinstance(found, Finding) and (found.onset, step) == (onset, onset + 4)


def test_a_lone_high_loss_is_a_note_and_two_are_not_an_alarm() -> None:
    losses = falling(300, seed=1)
    losses[150] += 9
    losses[200] += 9
    losses[202] += 9
    found = seen(losses)
    # Two such are part of what is usual by then.
    assert [one.step for _, one in found if isinstance(one, Outlier)] == [151, 201, 203]
    assert not [one for _, one in found if isinstance(one, Finding)]


def test_a_slow_rise_is_a_divergence_from_the_best_level() -> None:
    losses = falling(240, seed=3)
    losses += [losses[-1] + step * 0.02 for step in range(200)]
    step, found = seen(losses)[0]
    assert isinstance(found, Finding) and found.kind == "divergence"
    # 0.2 of the best level of about 3.1, at 0.02 a step.
    assert 240 + 25 < step < 240 + 60 and 200 < found.onset <= 245


def test_losses_that_double_before_there_is_a_history_are_an_alarm() -> None:
    losses = [7.6, 7.5, 7.5, 7.4, 7.3, 7.3, 7.2, 16.0, 30.0, 40.0]
    [(step, found)] = seen(losses)
    assert isinstance(found, Finding) and step == 10 and found.onset == 8


def test_its_state_is_all_of_it_through_json() -> None:
    losses = falling(120, seed=5)
    losses[100] += 5
    damaged = [*losses, *[loss + 4 for loss in falling(20, seed=6)]]
    for cut in (3, 17, 60, 102, 121):
        first, second = watch(), watch()
        expected = seen(damaged, watch())
        begun = seen(damaged[:cut], first)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        went_on = [
            (step, one)
            for step, loss in enumerate(damaged[cut:], cut + 1)
            if (one := second.observe(step, loss)) is not None
        ]
        assert begun + went_on == expected
    second.reset()
    assert second.state_dict() == watch().state_dict()


def test_rows_that_are_left_out_are_never_met() -> None:
    ledger = Ledger()
    ledger.skip(40, 52)
    ledger.skip(20, 24)
    ledger.skip(48, 60)
    ledger.skip(5, 5)
    assert ledger.skipped == [[20, 24], [40, 60]]
    taken, place = list[int](), 0
    while place < 100:
        place = ledger.position(place, 4)
        taken += range(place, place + 4)
        place += 4
    assert taken == [*range(20), *range(24, 40), *range(60, 100)]
    # How far so many steps reach is where they end, of whatever size they are and wherever they begin.
    for start in (0, 2, 23, 44):
        for count in (3, 4, 8):
            place = start
            for steps in range(20):
                assert ledger.reach(start, count, steps) == place
                place = ledger.position(place, count) + count
    # Steps of another size, as of a run that goes on with more processes.
    assert [ledger.position(place, 8) for place in (8, 12, 16, 32, 36)] == [8, 12, 24, 32, 60]
    assert Ledger.from_dict(json.loads(json.dumps(ledger.as_dict()))) == ledger


def test_trouble_that_comes_back_soon_is_the_same_trouble() -> None:
    ledger = Ledger()
    for step, streak in ((100, 0), (104, 1), (99, 2), (104 + REPEAT_STEPS + 1, 0)):
        ledger.alarm(step)
        assert ledger.streak == streak
    assert ledger.rollbacks == 4 and ledger.num_recent(140) == 4
    # What was long ago counts no more; what lies ahead was lately.
    assert ledger.num_recent(104 + RECENT_STEPS) == 1 and ledger.num_recent(104 + 2 * RECENT_STEPS) == 0
    ledger.alarm(2000)
    assert ledger.num_recent(2001) == 1 and ledger.num_recent(50) == 1 and ledger.rollbacks == 5
    # A checkpoint from before there were such.
    assert Ledger.from_dict({"rollbacks": 3}).num_recent(10) == 0


def test_the_checkpoint_that_is_gone_back_to(tmp_path: Path) -> None:
    def found(steps: dict[int, bool], first_bad: int, ledger: Ledger, step: int = 200) -> int:
        for path in tmp_path.glob("checkpoint-*"):
            shutil.rmtree(path)
        for number, good in steps.items():
            (tmp_path / f"checkpoint-{number}").mkdir()
            state = TrainState(step=number, guard={"suspicious": not good}).as_dict()
            content = json.dumps({"state": state, "extra": {}, "files": {}})
            (tmp_path / f"checkpoint-{number}" / STATE_FILE).write_text(content)
        trainer: Any = SimpleNamespace(run=Run(tmp_path), guard=SimpleNamespace(ledger=ledger))
        return rollback._choose(trainer, Alarm("loss_spike", step, first_bad, True))

    fresh, again = Ledger(), Ledger(last_alarm=190, last_target=150)
    assert found({100: True, 150: True, 180: False}, 196, fresh) == 150
    assert found({100: True, 150: True, 195: True}, 196, fresh) == 195
    # The same trouble again: further back, as far as there is anything.
    assert found({100: True, 150: True, 180: False}, 196, again) == 100
    assert found({150: True}, 196, again) == 150
    # A rise that began before all that is left: the oldest, and never the beginning while there is one.
    assert found({150: True, 190: True}, 120, fresh) == 150
    assert found({150: False}, 196, fresh) == found({}, 196, fresh) == 0


def test_the_best_checkpoint_as_of_one_that_may_be_gone_back_to_is_kept(tmp_path: Path) -> None:
    for step, best in ((20, 20), (40, 20), (60, 20), (80, 80)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        state = TrainState(step=step, best_step=best).as_dict()
        content = json.dumps({"state": state, "extra": {}, "files": {}})
        (tmp_path / f"checkpoint-{step}" / STATE_FILE).write_text(content)

    def kept(guard: str, load_best: bool) -> set[str]:
        trainer: Any = SimpleNamespace(
            run=Run(tmp_path),
            state=SimpleNamespace(step=80),
            guard=SimpleNamespace(section=SimpleNamespace(guard=guard)),
            recipe=SimpleNamespace(training=SimpleNamespace(load_best_model_at_end=load_best)),
        )
        return {path.name for path in rollback.protected(trainer)}

    assert kept("rollback", True) == {"checkpoint-20", "checkpoint-60", "checkpoint-80"}
    assert kept("stop", False) == {"checkpoint-60", "checkpoint-80"} and kept("warn", True) == set()
    # Of the good ones only those from before the trouble are worth a hint.
    alarm = Alarm("loss_not_finite", 80, 60, True, {"loss": math.nan})
    ended: Any = SimpleNamespace(run=Run(tmp_path))
    assert "checkpoint-40" in (rollback._end(ended, alarm, "It is over.").hint or "")


def test_a_divergence_ends_the_run_where_nothing_would_be_done_otherwise(tmp_path: Path) -> None:
    section, ended = StabilitySection(rollback_lr_factor=1.0), list[str]()
    record = SimpleNamespace(ended=lambda alarm, ledger, done: ended.append(done))
    trainer: Any = SimpleNamespace(
        optimizer=SimpleNamespace(zero_grad=lambda: None),
        guard=SimpleNamespace(goes_back=True, ledger=Ledger(), record=record),
        recipe=SimpleNamespace(stability=section),
        run=Run(tmp_path),
    )
    numbers = {"loss": 5.0, "level": 3.0, "limit": 4.0}
    with pytest.raises(TrainingError, match="the same steps would be made again"):
        rollback.answer(trainer, Alarm("divergence", 300, 250, False, numbers))
    assert len(ended) == 1 and trainer.guard.ledger == Ledger()


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Linear(8, 8)
        self.norm = torch.nn.LayerNorm(8)


class Stack(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(700, 8)
        self.layers = torch.nn.ModuleList(Block() for _ in range(6))
        self.lm_head = torch.nn.Linear(8, 700, bias=False)
        self.frozen = torch.nn.Parameter(torch.zeros(3), requires_grad=False)


def test_norms_of_groups_are_those_of_all_their_elements() -> None:
    torch.manual_seed(0)
    model = Stack()
    weights = dict(model.named_parameters())
    groups = groups_of(model, weights)
    assert {name: len(own) for name, own in groups.items()} == {
        "embedding": 1,
        "early": 4,
        "middle": 4,
        "late": 4,
        "norms": 12,
        "head": 1,
    }
    for weight in weights.values():
        weight.grad = torch.randn_like(weight) if weight.requires_grad else None

    def norm_of(tensors: list[torch.Tensor]) -> float:
        return float(torch.cat([tensor.detach().flatten() for tensor in tensors]).norm())

    norms = {name: norm_of([w.grad for w in own if w.grad is not None]) for name, own in groups.items()}
    total = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    monitor = LayerMonitor(model, weights)
    monitor.before(min(1.0, 1.0 / (total + 1e-6)))
    before = {name: [w.detach().clone() for w in own] for name, own in groups.items()}
    with torch.no_grad():
        for name, own in groups.items():
            for weight in own:
                weight.add_(torch.randn_like(weight), alpha=0.02 if name == "late" else 0.01)
    monitor.after()
    values = monitor.values
    assert math.sqrt(sum(value**2 for value in norms.values())) == pytest.approx(total, rel=1e-5)
    for name, own in groups.items():
        assert values[f"grad_norm/{name}"] == pytest.approx(norms[name], rel=1e-4)
        moved = norm_of([w - b for w, b in zip(own, before[name], strict=True)])
        size = norm_of(before[name])
        # Of the two that have 5,600 elements every third is seen; a sample of n errs by about 1/√n.
        assert values[f"update_ratio/{name}"] == pytest.approx(moved / size, rel=4 / math.sqrt(5600 / 3))


@pytest.mark.parametrize("shape", [(1024, 1024), (4096, 512), (700, 8), (9000,), (3, 3)])
def test_all_columns_of_a_weight_are_looked_at(shape: tuple[int, ...]) -> None:
    seen = _sample(torch.arange(shape[-1]).expand(shape))
    assert len(seen) <= SAMPLE and len(seen.unique()) == min(shape[-1], len(seen))


def test_losses_with_heavy_tails_are_seldom_three_in_a_row() -> None:
    # Preferences in batches of two: most are decided, some are not. By ranks alone, 1.4 · 10⁻⁶ a step.
    for seed in range(6):
        dice = random.Random(seed)
        pairs = [[math.log1p(math.exp(-dice.gauss(3, 2))) for _ in range(2)] for _ in range(2000)]
        losses = [sum(pair) / 2 for pair in pairs]
        assert [one for _, one in seen(losses) if isinstance(one, Finding)] == []
