"""What the loop calls at each step: the guard, the monitor of layers, and the loss scale of fp16."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.training.guard import Guard
from workbench.training.guarding import leaving
from workbench.training.guarding.layers import LayerMonitor
from workbench.training.guarding.record import Record

if TYPE_CHECKING:
    from workbench.objectives import Totals
    from workbench.training.loop import Trainer


class StepWatch:
    """Follows the steps of one process. The state of its guard is that of the run."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        section = trainer.recipe.stability
        self.record = Record(trainer.run, section, enabled=trainer.accelerator.is_main_process)
        self.record.tokens = lambda: trainer.state.num_tokens
        self.guard = Guard(section, self.record, trainer.recipe.training.learning_rate)
        self.guard.load_state_dict(trainer.state.guard)
        self._scale, self._left_out = 0.0, 0
        self.leave_out()
        self.monitor: LayerMonitor | None = None
        if section.layer_metrics:
            weights = trainer.stepper.weights
            depth = getattr(trainer.model.config, "num_hidden_layers", 0)
            self.monitor = LayerMonitor(trainer.model, weights, trainer.layout, depth)
            self.record.gradients = lambda: self.monitor.gradients if self.monitor else {}

    @property
    def will_log(self) -> bool:
        """Whether the step that is made now ends a line of metrics."""
        step = self.trainer.state.step + 1
        return step % self.trainer.recipe.training.logging_steps == 0 or step == self.trainer.max_steps

    def leave_out(self) -> None:
        """Have epochs to come be without what went wrong."""
        self._left_out = leaving.leave_out(self.trainer.rows, self.guard.ledger, self._left_out)

    def begin(self) -> None:
        """Go past rows that are left out."""
        state = self.trainer.state
        state.rows = self.guard.ledger.position(state.rows, self.trainer.rows_per_step)

    def loss(self, loss: float) -> None:
        """The loss of the step, before its update; see `Guard.see_loss`."""
        self.guard.see_loss(self.trainer.state.step + 1, self.trainer.state.rows, loss)

    def gradient(self, norm: float, limit: float) -> None:
        """The norm of its gradient, which has been clipped to `limit`; see `Guard.see_gradient`."""
        scaler = self.trainer.accelerator.scaler
        scale = None if scaler is None else float(scaler.get_scale())
        self._scale = scale or 0.0
        self.guard.see_gradient(self.trainer.state.step + 1, norm, scale=scale)
        if self.monitor is not None and self.will_log:
            # As `clip_grad_norm_` multiplies.
            clipped_by = min(1.0, limit / (norm + 1e-6)) if math.isfinite(norm) else 1.0
            self.monitor.before(clipped_by)

    def stepped(self) -> None:
        """The update is made, or was left out by the loss scaler."""
        trainer = self.trainer
        if self.monitor is not None and self.will_log:
            self.monitor.after()
        scaler = trainer.accelerator.scaler
        if scaler is not None:
            # A fused optimiser leaves the update out inside its step, so that Accelerate takes it for made;
            # the scale falls if and only if it was left out.
            now = float(scaler.get_scale())
            self.guard.see_scale(trainer.state.step + 1, self._scale, now)

    def metrics(self, totals: Totals) -> dict[str, float]:
        """What a line of metrics has of all this."""
        values = dict(self.monitor.values) if self.monitor is not None else {}
        if self.guard.scale is not None:
            values["loss_scale"] = self.guard.scale
            values["skipped_updates"] = float(self.guard.skipped_updates)
        if self.guard.ledger.lr_scale != 1.0:
            values["learning_rate_scale"] = self.guard.ledger.lr_scale
        # A head that was fused may have kept the logits to itself.
        if totals.peaks.get("logsumexp", -math.inf) > -math.inf:
            self.guard.see_logits(
                self.trainer.state.step, totals.stats["logsumexp"] / max(1, self._count(totals))
            )
        return values

    @staticmethod
    def _count(totals: Totals) -> float:
        return next(iter(totals.counts.values()))
