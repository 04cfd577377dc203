"""The stability section: what is watched while a run learns, what happens when it goes wrong, who is told."""

from __future__ import annotations

import shlex
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from workbench.recipe.section import Section

LEAST_HISTORY = 24
"""Steps whose losses say what is usual; before there are as many, only the crudest alarms are raised."""

Z_LOSS_OBJECTIVES = ("clm", "sft", "mlm", "plm", "denoise")
"""Objectives that end in a softmax over a vocabulary and nothing else."""


class StabilitySection(Section):
    """Spikes, divergence, numbers that are none: seen, undone, explained, and told to whom it concerns."""

    guard: Literal["rollback", "stop", "warn", "off"] = Field(
        "rollback",
        description="What an alarm does. rollback: back to the last good checkpoint, and on without the rows "
        "that went wrong; stop: the run ends; warn: it is written down, and the run goes on, unless a "
        "loss or gradient is no number.",
    )
    guard_window: int = Field(
        256, ge=LEAST_HISTORY, description="Steps whose losses say what is usual, and how far they scatter."
    )
    guard_threshold: float = Field(
        6.0,
        gt=0,
        description="Robust standard deviations above the median that a loss must lie to be high. It must "
        "also be higher than all of the window but one.",
    )
    guard_patience: int = Field(
        3,
        ge=1,
        le=5,
        description="High losses in a row that are an alarm, or one more within five steps; one alone is a "
        "bad batch. Five in a row as long as the losses of fewer than 96 steps are known, so always with a "
        "smaller guard_window.",
    )
    max_rollbacks: int = Field(
        10, ge=1, description="Rollbacks within 512 steps; at the next alarm the run ends and says why."
    )
    rollback_lr_factor: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The learning rate is multiplied by it where leaving rows out did not help, or where "
        "the loss rises slowly. 1: never, and a slow rise ends the run.",
    )
    layer_metrics: bool = Field(
        True,
        description="Log norms of gradients and sizes of updates by group of layers (grad_norm/early, "
        "update_ratio/head, …).",
    )
    z_loss: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Weight of log² Z, which keeps logits from growing; PaLM has 1e-4. 0: none.",
    )
    notify_command: str | None = Field(
        None,
        description="A program that is run for each alarm and at the end; it gets the event as JSON on "
        "standard input. Split into words as a shell would, but run without one.",
    )
    notify_shell: bool = Field(False, description="Run notify_command through /bin/sh.")
    notify_webhook: str | None = Field(
        None, description="An http or https address that each alarm and the end are posted to, as JSON."
    )
    notify_timeout: float = Field(
        10.0, gt=0, le=300, description="Seconds that either may take. Training never waits for them."
    )

    @property
    def notifies(self) -> bool:
        """Whether anybody is told."""
        return self.notify_command is not None or self.notify_webhook is not None

    @model_validator(mode="after")
    def _can_be_told(self) -> StabilitySection:
        if self.notify_command is not None and not self.notify_shell:
            try:
                words = shlex.split(self.notify_command)
            except ValueError as error:
                raise ValueError(f"notify_command cannot be split into words: {error}") from None
            if not words:
                raise ValueError("notify_command is empty")
        if self.notify_webhook is not None:
            try:
                parts = urlsplit(self.notify_webhook)
                fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
                fits &= self.notify_webhook.isprintable() and " " not in self.notify_webhook
            except ValueError:
                fits = False
            if not fits:
                raise ValueError("notify_webhook is an address such as https://example.org/hook")
        return self


def check_stability(recipe: Any) -> None:
    """Raise `ValueError` where the stability section does not fit the rest of a recipe."""
    if recipe.objective.name == "ppo":
        usual = StabilitySection()
        for name in StabilitySection.model_fields:
            is_used = name.startswith("notify_") or name == "z_loss"
            if not is_used and getattr(recipe.stability, name) != getattr(usual, name):
                raise ValueError(
                    f"objective.name ppo has no stability.{name}: it has guards of its own, in ppo.guard; of "
                    "this section it takes notify_command, notify_shell, notify_webhook and notify_timeout"
                )
    if recipe.stability.z_loss and recipe.objective.name not in Z_LOSS_OBJECTIVES:
        raise ValueError(
            f"objective.name {recipe.objective.name} has no stability.z_loss: it is for "
            f"{', '.join(Z_LOSS_OBJECTIVES)}"
        )
