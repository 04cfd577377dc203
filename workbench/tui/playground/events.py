"""What happens to something that was sent, as it is told from the thread of the conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.inference.generation import Delta
    from workbench.prompting.technique import Outcome, Step


@dataclass(frozen=True)
class Said:
    """What it is at before the model is there."""

    words: str


@dataclass(frozen=True)
class Began:
    """The model is there, and the technique begins; `at` is the monotonic clock, in seconds."""

    technique: str
    at: float


@dataclass(frozen=True)
class Opened:
    """The model is there; nothing was asked of it yet."""


@dataclass(frozen=True)
class Grew:
    """An answer grew."""

    delta: Delta
    at: float


@dataclass(frozen=True)
class Stepped:
    """A step of the trace."""

    step: Step


@dataclass(frozen=True)
class Heard:
    """A chain is complete while others may still run."""

    chain: int
    outcome: Outcome


@dataclass(frozen=True)
class ToolAsked:
    """A tool may run only if a person allows it: `answer` tells, from whatever thread."""

    name: str
    arguments: str
    answer: Callable[[bool], None]


@dataclass(frozen=True)
class Finished:
    """All chains are complete."""

    outcomes: Sequence[Outcome]
    at: float


@dataclass(frozen=True)
class Failed:
    """It came to nothing."""

    error: WorkbenchError
    at: float


@dataclass(frozen=True)
class Cancelled:
    """It was given up."""

    at: float


Event: TypeAlias = Said | Opened | Began | Grew | Stepped | Heard | ToolAsked | Finished | Failed | Cancelled
END = (Opened, Finished, Failed, Cancelled)
"""Nothing comes after one of these."""
