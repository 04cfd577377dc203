"""The guard of a run: sees every step before its update is made, and says when it must not be."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.errors import TrainingError
from workbench.training.guarding.alarm import Alarm, Alarmed, Kind, Trace
from workbench.training.guarding.ledger import Ledger
from workbench.training.guarding.losses import Finding, LossWatch, Outlier

if TYPE_CHECKING:
    from workbench.recipe.stability_section import StabilitySection
    from workbench.training.guarding.record import Record

REMEMBERED = 24
"""Steps whose rows, losses and gradients are known when something goes wrong."""
LEAST_SCALE = 1.0
"""A loss scale that has fallen so far scales nothing any more: gradients that overflow still are broken."""
LOGITS_HIGH, LOGITS_GREW = 40.0, 4.0
"""A mean log Z beyond the first, and beyond so many times what it began with, is worth a word: at 64 the
numbers of bfloat16 are a half apart."""


class Guard:
    """Decides; what is done about it is `guarding.rollback`'s. All processes see the same numbers, and so
    come to the same decisions. Its state is in `TrainState.guard`."""

    def __init__(self, section: StabilitySection, record: Record, learning_rate: float) -> None:
        self.section, self.record, self.learning_rate = section, record, learning_rate
        self._forget()

    def _forget(self) -> None:
        """As at the beginning of a run."""
        section = self.section
        self.ledger = Ledger()
        self.losses = LossWatch(
            window=section.guard_window, threshold=section.guard_threshold, patience=section.guard_patience
        )
        self.trace: deque[Trace] = deque(maxlen=REMEMBERED)
        self.skipped_updates = 0
        self.scale: float | None = None
        self.logits_began: float | None = None
        self.logits_told = False
        self.record.scales_told = 0

    @property
    def is_on(self) -> bool:
        return self.section.guard != "off"

    @property
    def goes_back(self) -> bool:
        return self.section.guard == "rollback"

    @property
    def is_suspicious(self) -> bool:
        """Whether what is saved now may be damaged already."""
        return self.is_on and self.losses.is_suspicious

    @property
    def is_high(self) -> bool:
        """Whether a run that ended now would end high."""
        return self.is_on and self.losses.is_high

    @property
    def is_doubtful(self) -> bool:
        """Whether more than one batch speaks for damage; the last model of a run that ends so is passed
        over."""
        return (self.goes_back or self.section.guard == "stop") and self.losses.is_doubtful

    def see_loss(self, step: int, rows: int, loss: float) -> None:
        """The loss of a step, before its update. Raises `Alarmed` where it must not be made, and
        `TrainingError` where the loss is no number and nobody goes back."""
        self.trace.append(Trace(step, rows, loss))
        if not math.isfinite(loss):
            self._broken("loss_not_finite", step, {"loss": loss}, f"the loss became {loss} at step {step}")
        if not self.is_on:
            return
        found = self.losses.observe(step, loss)
        if isinstance(found, Outlier):
            self.record.outlier(found, self._traced(step), self.ledger)
        elif found is not None:
            self._alarm(found, step)

    def see_gradient(self, step: int, norm: float, *, scale: float | None) -> None:
        """The norm of its gradient, before it is clipped; `scale` is what fp16 multiplied the loss by. Raises
        as `see_loss`."""
        last = self.trace[-1]
        self.trace[-1] = Trace(last.step, last.rows, last.loss, norm)
        # With a scale above its least, the scaler leaves the update out and halves itself.
        if math.isfinite(norm) or (scale is not None and scale > LEAST_SCALE):
            return
        numbers = {"loss": last.loss, "grad_norm": norm} | ({} if scale is None else {"loss_scale": scale})
        self._broken("gradient_not_finite", step, numbers, f"the gradient became {norm} at step {step}")

    def see_scale(self, step: int, before: float, now: float) -> None:
        """What fp16 multiplied the loss by in a step, and will in the next; where that is less, the update
        was left out."""
        self.skipped_updates += now < before
        if self.is_on and now != before:
            self.record.scale(step, before, now, self.skipped_updates, self.ledger)
        self.scale = now

    def see_logits(self, step: int, mean: float) -> None:
        """The mean log Z of a line of metrics: said once where it has grown far."""
        if self.logits_began is None:
            self.logits_began = abs(mean)
        grown = abs(mean) > max(LOGITS_HIGH, LOGITS_GREW * self.logits_began)
        if self.is_on and grown and not self.logits_told:
            self.logits_told = True
            self.record.logits(step, mean, self.logits_began, self.section.z_loss, self.ledger)

    def rate(self, rate: float) -> float:
        """The learning rate of a step, after what rollbacks have taken from it."""
        return rate * self.ledger.lr_scale

    def _broken(self, kind: Kind, step: int, numbers: dict[str, Any], message: str) -> None:
        alarm = Alarm(kind, step, step, True, numbers, tuple(self.trace))
        if self.goes_back:
            raise Alarmed(alarm)
        if self.is_on:
            self.record.ended(alarm, self.ledger)
        raise TrainingError(
            message,
            where=str(self.record.run.path),
            hint="start again from the last checkpoint with a training.learning_rate below "
            f"{self.learning_rate:g}, a longer warm-up, or bf16 instead of fp16; "
            "stability.guard=rollback goes back by itself",
        )

    def _alarm(self, found: Finding, step: int) -> None:
        numbers = {
            "loss": found.loss,
            "level": found.level,
            "limit": found.limit,
            "deviation": found.deviation,
            "onset": found.onset,
        }
        is_spike = found.kind == "loss_spike"
        # The update before the first high loss may be what made it high.
        first_bad = found.onset - 1 if is_spike else found.onset
        alarm = Alarm(found.kind, step, max(1, first_bad), is_spike, numbers, tuple(self.trace))
        if self.section.guard == "warn":
            self.record.warned(alarm, self.ledger)
            self.losses.reset()
            return
        raise Alarmed(alarm)

    def _traced(self, step: int) -> Trace | None:
        return next((entry for entry in self.trace if entry.step == step), None)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with, as plain values; `suspicious` marks the checkpoint."""
        return {
            "suspicious": self.is_suspicious,
            "scales_told": self.record.scales_told,
            "ledger": self.ledger.as_dict(),
            "losses": self.losses.state_dict(),
            "trace": [list(asdict(entry).values()) for entry in self.trace],
            "skipped_updates": self.skipped_updates,
            "scale": self.scale,
            "logits": [self.logits_began, self.logits_told],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it; an empty one, as of the beginning of a run, is a fresh guard."""
        self._forget()
        self.ledger = Ledger.from_dict(state.get("ledger", {}))
        if "losses" in state:
            self.losses.load_state_dict(state["losses"])
            self.trace.extend(Trace(*values) for values in state["trace"])
            self.skipped_updates, self.scale = int(state["skipped_updates"]), state["scale"]
            self.logits_began, self.logits_told = state["logits"]
            self.record.scales_told = int(state.get("scales_told", 0))
