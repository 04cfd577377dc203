"""Guards: silent on noise, however wild; they speak when something is wrong, and soon."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from workbench.errors import RecipeError
from workbench.objectives.ppo.guards import Alarm, GuardLimits, Guards

RNG = np.random.default_rng


def first_alarm(
    guards: Guards, kl: list[float], entropy: list[float], length: list[float]
) -> tuple[int, list[Alarm]]:
    """When a guard first speaks, and what it says; −1 for never."""
    for step, (k, e, n) in enumerate(zip(kl, entropy, length, strict=True)):
        if alarms := guards.observe(kl=k, entropy=e, length=n):
            return step, alarms
    return -1, []


@pytest.mark.parametrize("noise", ["normal", "heavy tails", "lognormal"])
def test_no_false_alarm_on_stationary_noise(noise: str) -> None:
    for seed in range(10):
        rng = RNG(seed)
        draw = {
            "normal": lambda n, rng=rng: 0.3 * rng.standard_normal(n),
            "heavy tails": lambda n, rng=rng: 0.15 * rng.standard_t(2, n).clip(-6, 6),
            "lognormal": lambda n, rng=rng: rng.lognormal(0, 0.5, n) - 1,
        }[noise]
        kl, entropy, length = (scale * (1 + draw(300)) for scale in (12.0, 2.5, 60.0))
        step, alarms = first_alarm(Guards(), kl.tolist(), entropy.tolist(), length.tolist())
        assert step == -1, (seed, step, alarms)


def test_no_false_alarm_on_a_healthy_run() -> None:
    """KL rises from 0 to its target and stays, entropy falls by half, responses grow by half."""
    rng, steps = RNG(0), np.arange(300)
    rising = 1 - np.exp(-steps / 25)
    kl = 8 * rising + 0.4 * rng.standard_normal(300) * rising
    entropy = 2.4 * (1 - 0.5 * rising) + 0.1 * rng.standard_normal(300)
    length = 50 * (1 + 0.5 * rising) + 4 * rng.standard_normal(300)
    guards = Guards(GuardLimits(kl_limit=6 * 8))
    assert first_alarm(guards, kl.tolist(), entropy.tolist(), length.tolist()) == (-1, [])


STEADY = {"kl": 6.0, "entropy": 2.0, "length": 50.0}


def broken(name: str, values: np.ndarray) -> dict[str, list[float]]:
    """Fifty steady batches with a little noise, and then one number goes its own way."""
    rng = RNG(1)
    total = 50 + len(values)
    run = {key: (level * (1 + 0.05 * rng.standard_normal(total))).tolist() for key, level in STEADY.items()}
    run[name][50:] = (STEADY[name] * values * (1 + 0.05 * rng.standard_normal(len(values)))).tolist()
    return run


@pytest.mark.parametrize(
    ("name", "course", "kind", "says"),
    [
        ("kl", np.exp(np.arange(40) / 5), "kl_runaway", "running away from the reference"),
        ("kl", np.full(40, -0.5), "kl_negative", "below 0 it cannot be"),
        ("entropy", np.exp(-np.arange(60) / 8), "entropy_collapse", "stopped exploring"),
        ("length", 1 + np.arange(60) / 10, "length_drift", "become longer"),
        ("length", np.exp(-np.arange(60) / 10), "length_drift", "become shorter"),
    ],
)
def test_it_speaks_when_something_is_wrong(name: str, course: np.ndarray, kind: str, says: str) -> None:
    step, alarms = first_alarm(Guards(), **broken(name, course))
    assert 50 <= step < 50 + 30
    assert [alarm.kind for alarm in alarms] == [kind]
    assert says in alarms[0].sentence and alarms[0].sentence.endswith((".", "from."))
    assert alarms[0].advice.endswith(".")


def test_what_creeps_is_seen_beside_the_start() -> None:
    """One per cent a batch: within any window it is nothing, and after seventy batches it has doubled."""
    length = [50 * 1.01**step for step in range(120)]
    step, alarms = first_alarm(Guards(), [6.0] * 120, [2.0] * 120, length)
    assert 70 < step < 100 and [alarm.kind for alarm in alarms] == ["length_drift"]


def test_a_kl_that_leaps_about_is_not_running_away() -> None:
    # Medians go from 2 to 60, and yet the same values come all the time.
    kl = [2.0, 60.0] * 11 + [2.0, 2.0] + [60.0, 2.0, 60.0, 60.0, 2.0, 60.0, 2.0, 60.0]
    assert first_alarm(Guards(), kl, [2.0] * 32, [50.0] * 32) == (-1, [])


def test_a_limit_stands_for_itself_and_one_wild_batch_is_nothing() -> None:
    kl = [6.0] * 10 + [500.0, 700.0] + [6.0] * 10
    guards = Guards(GuardLimits(kl_limit=30.0))
    assert first_alarm(guards, kl, [2.0] * 22, [50.0] * 22)[0] == -1
    step, alarms = first_alarm(guards, [31.0] * 8, [2.0] * 8, [50.0] * 8)
    assert step == 4 and "above the limit of 30" in alarms[0].sentence


def test_what_is_no_number_stops_at_once() -> None:
    alarms = Guards().observe(kl=math.nan, entropy=1.0, length=5.0)
    assert [alarm.kind for alarm in alarms] == ["not_finite"] and "KL" in alarms[0].sentence


def test_a_resumed_guard_says_the_same() -> None:
    run = broken("entropy", np.exp(-np.arange(60) / 8))
    whole, first, second = Guards(), Guards(), Guards()
    for step, (k, e, n) in enumerate(zip(*run.values(), strict=True)):
        if step == 40:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
            first = second
        assert whole.observe(kl=k, entropy=e, length=n) == first.observe(kl=k, entropy=e, length=n)


def test_limits_that_cannot_be() -> None:
    for name, value in (
        ("window", 1),
        ("recent", 0),
        ("chance", 1e-9),
        ("entropy_fraction", 1.0),
        ("length_factor", 0.5),
    ):
        with pytest.raises(RecipeError, match=name):
            GuardLimits(**{name: value})  # type: ignore[arg-type]
