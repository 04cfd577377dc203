"""What an objective may need before the first step, when model, rows and processes are all there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from workbench.objectives.base import Rows


@dataclass(frozen=True)
class Beginning:
    """A run as it stands before its first step here, or an evaluation, the same on every process.

    `model` is the bare model on its device; `has_moved`: it comes from a checkpoint, not from where the run
    began, and `fresh()` loads what that was (`fresh(name)`: another model, as it is). `rows` are taken from 0
    to `num_rows`, `batch_size` at a time, in batches that begin at its multiples, `held_out` likewise.
    `data_key` stands for the data, `folder` is the run's, if there is one. `progress` is heard by a person;
    `is_stopping` says whether this process was asked to stop, and `leave` does so, on all processes or none.
    """

    model: nn.Module
    fresh: Callable[..., nn.Module]
    has_moved: bool
    accelerator: Accelerator
    rows: Rows
    num_rows: int
    batch_size: int
    held_out: Rows
    num_held_out: int
    held_out_batch_size: int
    data_key: str
    folder: Path | None
    progress: Callable[[str, int, int | None], Any]
    is_stopping: Callable[[], bool]
    leave: Callable[[], NoReturn]
