"""Writing down what the guard saw and did: `events.jsonl`, the log, and whoever is to be told."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.store.events import ALARM, NOTE, EventWriter, RunEvent, line_of
from workbench.training.guarding import words
from workbench.training.notify import Notifier, of_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workbench.recipe.stability_section import StabilitySection
    from workbench.store.runs import Run
    from workbench.training.guarding.alarm import Alarm, Trace
    from workbench.training.guarding.ledger import Ledger
    from workbench.training.guarding.losses import Outlier

STEPS_TOLD = 12
"""Losses and gradients of the steps before an alarm that go into its event."""
SCALES_TOLD = 20
"""Changes of the loss scale that are written down; a run that changes it more often has been told enough."""


class Record:
    """What happened, where a person finds it. Only the main process has one that is `enabled`."""

    def __init__(self, run: Run, section: StabilitySection, *, enabled: bool) -> None:
        self.run, self.section, self.enabled = run, section, enabled
        self.tokens: Callable[[], int] = lambda: 0
        self.gradients: Callable[[], Mapping[str, float]] = dict
        self._writer = EventWriter(run.events_path)
        self._notifier = Notifier(section, run)
        self.scales_told = 0

    def add(self, event: RunEvent) -> None:
        """Write an event down, say it in the log, and tell of an alarm. Raises `StorageError`."""
        if not self.enabled:
            return
        self._writer.write(event)
        explained = event.texts[1:] if event.is_alarm else []
        for line in [line_of(event), *[f"  {name}: {text}" for name, text in explained]]:
            print(line, file=sys.stderr, flush=True)
        if event.is_alarm:
            self._notifier.send(of_event(self.run, event))

    def close(self) -> None:
        """Wait for what is still to be told, and let go of the file."""
        self._notifier.close()
        self._writer.close()

    def rolled_back(
        self,
        alarm: Alarm,
        ledger: Ledger,
        target: int,
        rows: dict[str, Any] | None,
        done: str,
        *,
        num_tokens: int,
    ) -> None:
        """An alarm that was answered by going back to the checkpoint of step `target`; `num_tokens` had been
        trained on when it was raised."""
        event = self._event(alarm, "rolled_back", ledger.rollbacks - 1, done, rows=rows, to_step=target)
        self.add(replace(event, num_tokens=num_tokens))

    def ended(self, alarm: Alarm, ledger: Ledger, done: str = "") -> None:
        """An alarm that the run ends for."""
        self.add(self._event(alarm, "stopped", ledger.rollbacks, done or "The run was ended."))

    def warned(self, alarm: Alarm, ledger: Ledger) -> None:
        """An alarm that nothing is done about."""
        done = "Nothing: stability.guard is warn. What is now counts as usual from here on."
        self.add(self._event(alarm, "warned", ledger.rollbacks, done))

    def outlier(self, found: Outlier, trace: Trace | None, ledger: Ledger) -> None:
        """One wild loss that was followed by ordinary ones."""
        names = ("loss", "level", "limit", "deviation")
        numbers = {name: getattr(found, name) for name in names}
        rows = None if trace is None else {"first": trace.rows}
        if trace is not None and trace.gradient is not None:
            numbers["grad_norm"] = trace.gradient
        self.note(
            found.step,
            "loss_outlier",
            ledger,
            happened=words.outlier(found),
            why="The model was not harmed: one batch was unlike the others.",
            advice="Nothing, unless there are many: then look at those rows.",
            numbers=numbers,
            rows=rows,
        )

    def scale(self, step: int, before: float, now: float, skipped: int, ledger: Ledger) -> None:
        """A change of what fp16 multiplies the loss by."""
        if self.scales_told >= SCALES_TOLD:
            return
        self.scales_told += 1
        fell = now < before
        self.note(
            step,
            "loss_scale",
            ledger,
            happened=f"fp16 {'lowered' if fell else 'raised'} the loss scale from {before:g} to {now:g}.",
            why="A gradient overflowed, and the update of this step was left out."
            if fell
            else "No gradient has overflowed for long.",
            advice="Nothing: a few times at the start, and now and then, are usual. If it falls again and "
            "again: training.bf16=true in the place of fp16."
            if fell
            else "",
            numbers={"before": before, "now": now, "skipped_updates": skipped},
        )

    def logits(self, step: int, mean: float, began: float, z_loss: float, ledger: Ledger) -> None:
        """Logits that have grown far."""
        self.note(
            step,
            "logit_growth",
            ledger,
            happened=f"The mean log Z of the logits is {mean:.1f}, and was {began:.1f} when the run began.",
            why="Nothing in the cross-entropy holds the size of all logits together; bf16 has few digits for "
            "large ones.",
            advice="stability.z_loss=1e-4 holds them." if not z_loss else "A larger stability.z_loss.",
            numbers={"logsumexp": mean, "began": began},
        )

    def ended_high(self, step: int, instead: str, ledger: Ledger) -> None:
        """A run that came to its end while its loss was high."""
        self.note(
            step,
            "ended_high",
            ledger,
            happened="The loss was high in the last steps, and there were none after that could show whether "
            "the model is damaged.",
            why="One batch that is unlike the others, or the beginning of a spike or a divergence.",
            done=f"final/ is the model of {instead}, the last good checkpoint." if instead else "",
            advice="Evaluate final/ and the checkpoints before: workbench eval. A schedule that ends with a "
            "low learning rate seldom ends so.",
        )

    def note(self, step: int, kind: str, ledger: Ledger, **parts: Any) -> None:
        """An event that nothing needs to be done about."""
        self.add(
            RunEvent(
                step=step,
                kind=kind,
                severity=NOTE,
                rollbacks=ledger.rollbacks,
                num_tokens=self.tokens(),
                time=time.time(),
                **parts,
            )
        )

    def _event(self, alarm: Alarm, action: str, rollbacks: int, done: str, **parts: Any) -> RunEvent:
        numbers = dict(alarm.numbers)
        numbers["steps"] = [
            {"step": entry.step, "loss": entry.loss, "grad_norm": entry.gradient}
            for entry in alarm.trace[-STEPS_TOLD:]
        ]
        gradients = self.gradients()
        return RunEvent(
            step=alarm.step,
            kind=alarm.kind,
            severity=ALARM,
            action=action,
            happened=words.happened(alarm),
            why=words.why(alarm, gradients),
            done=done,
            advice=words.advice(alarm).replace(" RUN ", f" {self.run.name} "),
            numbers=numbers | {f"grad_norm/{name}": value for name, value in gradients.items()},
            rollbacks=rollbacks,
            num_tokens=self.tokens(),
            time=time.time(),
            **parts,
        )
