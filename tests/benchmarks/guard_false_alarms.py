"""How often does the guard of the loss raise an alarm where nothing is wrong, and how late a real one?

Losses as of small batches and heavy tails, drawn here: preferences and classification near their end, records
of one to eight, log-normal ones, many epochs over few examples. Told are the runs with an alarm, by the steps
they had made; then the step after a rise that stays, 1 being the first, at which it is seen.

    python tests/benchmarks/guard_false_alarms.py [--steps 2000] [--runs 100]

Prints JSON. No model is trained: ten kinds of 2,000 steps, a hundred runs each, take about a minute and a
half on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from workbench.training.guarding.losses import Finding, LossWatch

EARLY = 128
"""Steps in which little is known of what is usual."""
LEVELS = (2.0, 1.2, 0.6, 0.25, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01)
"""The loss of each epoch over examples that are learned by heart."""

Loss = Callable[[random.Random, int, int], float]


def log_normal(sigma: float, dice: random.Random, step: int, steps: int) -> float:
    """A loss whose logarithm is normal."""
    return math.exp(sigma * dice.gauss(0, 1))


def margins(count: int, mean: float, ramp: float, dice: random.Random, step: int, steps: int) -> float:
    """−log σ of margins that grow: pairs of answers, or two classes; `count` a batch."""
    grown = min(1.0, step / (ramp * steps))
    drawn = (grown * (mean + 2 * dice.gauss(0, 1)) for _ in range(count))
    return sum(math.log1p(math.exp(-one)) for one in drawn) / count


def records(count: int, sigma: float, dice: random.Random, step: int, steps: int) -> float:
    """Records of very unlike difficulty, `count` a batch."""
    level = 1.2 + math.exp(-step / 50)
    return sum(level * math.exp(sigma * dice.gauss(0, 1) - sigma**2 / 2) for _ in range(count)) / count


def epochs(count: int, dice: random.Random, step: int, steps: int) -> float:
    """Ten epochs, each of which has a level of its own."""
    level = LEVELS[min(9, 10 * step // steps)]
    return sum(level * math.exp(0.8 * dice.gauss(0, 1) - 0.32) for _ in range(count)) / count


def rare_class(count: int, share: float, pace: float, dice: random.Random, step: int, steps: int) -> float:
    """A classifier that learns which class is seldom and nothing else, within some `pace` steps."""
    rare = share + (0.5 - share) * math.exp(-step / pace)
    return sum(-math.log(rare if dice.random() < share else 1 - rare) for _ in range(count)) / count


KINDS: dict[str, Loss] = {
    "log-normal, 1": partial(log_normal, 1.0),
    "log-normal, 1.5": partial(log_normal, 1.5),
    "preferences, batches of 1": partial(margins, 1, 3.0, 0.3),
    "preferences, batches of 2": partial(margins, 2, 3.0, 0.3),
    "preferences, batches of 16": partial(margins, 16, 3.0, 0.3),
    "classification, batches of 4": partial(margins, 4, 5.0, 0.1),
    "a class of 8 %, batches of 1": partial(rare_class, 1, 0.08, 30.0),
    "a class of 8 %, batches of 4": partial(rare_class, 4, 0.08, 30.0),
    "a class of 3 %, slowly, batches of 8": partial(rare_class, 8, 0.03, 300.0),
    "records, batches of 1": partial(records, 1, 0.9),
    "records, batches of 8": partial(records, 8, 0.6),
    "ten epochs, batches of 1": partial(epochs, 1),
    "ten epochs, batches of 8": partial(epochs, 8),
}


def watch() -> LossWatch:
    """As a recipe has it that says nothing of it."""
    return LossWatch(window=256, threshold=6.0, patience=3)


def false_alarms(loss: Loss, steps: int, runs: int) -> dict[str, int]:
    """Runs whose first alarm came early, and later."""
    found = Counter({"early": 0, "later": 0})
    for seed in range(runs):
        dice, guard = random.Random(seed), watch()
        for step in range(1, steps + 1):
            if isinstance(guard.observe(step, loss(dice, step, steps)), Finding):
                found["early" if step <= EARLY else "later"] += 1
                break
    return dict(found)


def delays(rise: float, noise: float, runs: int) -> dict[str, int]:
    """How many steps a language model's loss is high before it is an alarm, from step 45 to 420."""
    found: Counter[str] = Counter()
    for seed in range(runs):
        dice, guard = random.Random(seed), watch()
        onset = dice.randrange(45, 420)
        delay = "not within 12"
        for step in range(1, onset + 12):
            loss = 3 + 5 * math.exp(-step / 60) + dice.gauss(0, noise) + (rise if step >= onset else 0.0)
            if isinstance(guard.observe(step, loss), Finding):
                delay = str(step - onset + 1)
                break
        found[delay] += 1
    return dict(sorted(found.items()))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    alarms = {name: false_alarms(loss, given.steps, given.runs) for name, loss in KINDS.items()}
    seen = {
        f"+{rise:g}, noise {noise:g}": delays(rise, noise, given.runs)
        for rise, noise in ((1.0, 0.02), (1.0, 0.1), (3.0, 0.25))
    }
    print(json.dumps({"steps": given.steps, "runs": given.runs, "alarms": alarms, "delays": seen}, indent=1))


if __name__ == "__main__":
    main()
