"""What was predicted of a run before it began: `prediction.json` in its folder, and what came of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.store.files import replace_file

if TYPE_CHECKING:
    from workbench.store.runs import Run
    from workbench.store.status import Status

FILE = "prediction.json"


@dataclass(frozen=True)
class Prediction:
    """The held-out `loss` that a law predicts at `step`, its last, after `tokens`, in nats a token.

    `low` and `high` hold it with probability `level`; `law` says by what; `curve` is the whole way there as
    (step, loss) where it can be told, empty otherwise; `factor` how much more compute it is than the largest
    run that the law was fitted to; `made` seconds since the epoch; `forms` the losses that each form of law
    predicts by itself, by name.
    """

    loss: float
    low: float
    high: float
    level: float
    step: int
    tokens: float
    parameters: float
    flops: float
    law: str
    factor: float | None = None
    made: float = 0.0
    curve: Sequence[tuple[float, float]] = field(default_factory=tuple)
    forms: Mapping[str, float] = field(default_factory=dict)

    @property
    def tokens_per_step(self) -> float:
        """Tokens in a step."""
        return self.tokens / self.step

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """The loss that a run ended with, and the relative `error` of the prediction: predicted over measured,
    less 1; `inside` its interval or not."""

    loss: float
    error: float
    inside: bool


def write_prediction(run: Run, prediction: Prediction) -> None:
    """Keep a prediction with the run that it is about. Raises `StorageError`."""
    text = json.dumps(prediction.as_dict(), indent=1)
    replace_file(run.path / FILE, text.encode(), durable=True)


def read_prediction(run: Run) -> Prediction | None:
    """The prediction of a run; None where there is none, or a damaged one."""
    try:
        value = json.loads((run.path / FILE).read_bytes())
        found = Prediction(**value)
        numbers = (found.loss, found.low, found.high, found.level, found.step, found.tokens)
        if not all(math.isfinite(number) for number in numbers) or found.step < 1:
            return None
        curve = tuple((float(step), float(loss)) for step, loss in found.curve)
    except (OSError, ValueError, TypeError):
        return None
    return Prediction(**{**value, "curve": curve})


def law_of(study: str) -> str:
    """What `Prediction.law` says of the law of a study."""
    return f"study {study}"


def outcome_of(prediction: Prediction, status: Status) -> Outcome | None:
    """How a prediction turned out; None while the run has not come to its end."""
    if status.state != "finished" or status.eval_loss is None or not math.isfinite(status.eval_loss):
        return None
    measured = status.eval_loss
    inside = prediction.low <= measured <= prediction.high
    return Outcome(measured, prediction.loss / measured - 1, inside)


@dataclass(frozen=True)
class Predicted:
    """A run that was predicted: its `name`, and what came of it, None before its end."""

    name: str
    prediction: Prediction
    outcome: Outcome | None
    words: str


def predicted_by(study: str) -> tuple[Predicted, ...]:
    """The runs that a study's law predicted, the newest first. Raises `StorageError`."""
    from workbench.store.runs import list_runs

    found = []
    for run in list_runs():
        kept = read_prediction(run) if (run.path / FILE).exists() else None
        if kept is not None and kept.law == law_of(study):
            status = run.status()
            found.append(Predicted(run.name, kept, outcome_of(kept, status), words_of(kept, status)))
    return tuple(found)


def words_of(prediction: Prediction, status: Status) -> str:
    """Prediction and outcome in a line."""
    interval = f"[{prediction.low:.4g}, {prediction.high:.4g}]"
    told = f"{prediction.loss:.4g} {interval} at step {prediction.step:,}, by {prediction.law}"
    outcome = outcome_of(prediction, status)
    if outcome is None:
        return told
    where = "inside" if outcome.inside else "outside"
    return f"{told}; reached {outcome.loss:.4g}, {where} the interval, predicted {outcome.error:+.1%}"
