"""What processes do together ends for all of them where it fails for one, and one of them says why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist
from accelerate.utils import broadcast_object_list

from workbench.errors import TrainingError, WorkbenchError
from workbench.training.parallel.layout import set_patience
from workbench.training.stop import Stopped

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
LONG = timedelta(days=7)
"""For what takes as long as it takes: reading a model of hundreds of gigabytes from a slow disk. A process
that dies meanwhile is missed all the same."""


class FailedElsewhere(Stopped):
    """Another process has failed, and says so: this one ends without a word."""


@dataclass(frozen=True)
class _Trouble:
    rank: int
    message: str
    where: str
    hint: str

    @classmethod
    def of(cls, error: Exception, rank: int) -> _Trouble:
        if isinstance(error, WorkbenchError):
            return cls(rank, error.message, error.where, error.hint)
        return cls(rank, f"{type(error).__name__}: {error}"[:300], "", "the log says more")


def together(work: Callable[[], T], accelerator: Accelerator, *, usual: timedelta | None = None) -> T:
    """What `work` makes on this process, once it is done on all. Where it has failed on any, all end here:
    the main process raises its own error, or what another has told it, and the others `FailedElsewhere`.

    All processes call it; where `work` has exchanges of its own, it must fail on all or on none. With
    `usual`, what they wait for each other otherwise, they wait as long as it takes.
    """
    if accelerator.num_processes == 1:
        return work()
    error: Exception | None = None
    try:
        found = work()
    except Exception as caught:
        error = caught
    rank = accelerator.process_index
    every: list[_Trouble | None] = [None] * accelerator.num_processes
    with _patient(usual):
        dist.all_gather_object(every, None if error is None else _Trouble.of(error, rank))
    first = next((trouble for trouble in every if trouble is not None), None)
    if first is None:
        return found
    if error is not None and (accelerator.is_main_process or not isinstance(error, WorkbenchError)):
        # What nobody foresaw leaves its traceback in the log, whoever it befell.
        raise error
    if accelerator.is_main_process:
        raise TrainingError(f"rank {first.rank}: {first.message}", where=first.where, hint=first.hint)
    raise FailedElsewhere from None


def from_main(value: Any, accelerator: Accelerator) -> Any:
    """What the main process gives, on all of them."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]


@contextlib.contextmanager
def _patient(usual: timedelta | None) -> Iterator[None]:
    if usual is None:
        yield
        return
    world: Any = dist.group.WORLD
    set_patience(world, LONG)
    try:
        yield
    finally:
        set_patience(world, usual)
