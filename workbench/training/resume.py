"""Going on from a checkpoint: optimiser, random numbers and counters as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import CheckpointError, DataError
from workbench.training import checkpoint, random_state

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from workbench.training.reporter import Reporter
    from workbench.training.state import TrainState


def resume(
    found: checkpoint.Checkpoint,
    optimizer: torch.optim.Optimizer,
    key: str,
    reporter: Reporter,
    *,
    needs: str = "the data is",
    rank: int = 0,
    seed_offset: int | None = None,
    layout: dict[str, int] | None = None,
    restore: Callable[[], None] | None = None,
) -> TrainState:
    """Put back what a checkpoint holds beside the model, and return its state.

    `layout` is how the model is split now: in another one, processes have no random states to go on from,
    and seed theirs with `seed_offset` (`Layout.seed_offset`), else with their rank.
    `restore` puts the optimiser's state back where that is not done by its file alone.

    `key` stands for what the run `needs` as it was when it began: with other data it would not go on
    exactly. Raises `DataError` where it is another, `CheckpointError` where the optimiser does not fit.
    """
    where = str(found.path)
    if found.state.data_key != key:
        raise DataError(
            f"{needs} not what this run began with, so it cannot go on exactly",
            where=where,
            hint="put the old files back, or start a new run from this checkpoint: "
            f"model.model_name_or_path={found.path}",
        )
    try:
        if restore is None:
            checkpoint.restore_optimizer(optimizer, found.optimizer_state())
        else:
            restore()
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"its optimiser state does not fit the model: {error}", where=where) from None
    was = found.extra.get("layout")
    is_same = layout is None or was is None or was == layout
    own = found.random_state(rank) if is_same else None
    if own is not None:
        random_state.restore(own)
    else:
        random_state.seed_everything(found.step * 1000 + (rank if seed_offset is None else seed_offset))
    if reporter.enabled:
        print(f"resuming from {found.path.name}", flush=True)
    reporter.update(step=found.step)
    return found.state
