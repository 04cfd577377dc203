"""The end of a run whose last losses were high: what is said of it, and whose model is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.training.guarding.rollback import is_good

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.training.loop import Trainer


def tell(trainer: Trainer) -> None:
    """A note where the run has come to its last step and what happened there is not known."""
    if trainer.guard.is_high:
        source = instead(trainer)
        name = "" if source is None else source.name
        trainer.guard.record.ended_high(trainer.state.step, name, trainer.guard.ledger)


def instead(trainer: Trainer) -> Path | None:
    """The last good checkpoint, where the last model is probably damaged and no evaluation decides; None
    where the last model is kept, or there is no other."""
    chosen = trainer.recipe.training.load_best_model_at_end and trainer.state.best_step is not None
    if chosen or not trainer.guard.is_doubtful:
        return None
    good = [path for path in trainer.run.checkpoints() if is_good(path)]
    return good[-1] if good else None
