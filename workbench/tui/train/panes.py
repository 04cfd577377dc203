"""The panes of the Train tab: the table that a new one is entered in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.store.runs import Run
from workbench.tui.train.events_pane import EventsSource
from workbench.tui.train.held_out_pane import HeldOutSource
from workbench.tui.train.info_pane import InfoSource
from workbench.tui.train.log_pane import LogSource
from workbench.tui.train.long_context_pane import LongContextSource
from workbench.tui.train.machine_pane import MachineSource
from workbench.tui.train.ranks_pane import RanksSource
from workbench.tui.train.recipe_pane import RecipeSource
from workbench.tui.train.rollouts_pane import RolloutsSource
from workbench.tui.train.rows import Row
from workbench.tui.train.samples_pane import SamplesSource
from workbench.tui.train.sources import Source


@dataclass(frozen=True)
class Subject:
    """What a pane is about: the selected run, the baseline it is compared with, how to draw."""

    run: Run
    baseline: Run | None
    row: Callable[[], Row | None]
    symbols: str


@dataclass(frozen=True)
class Pane:
    """One pane: its key, its name, whether it follows its end, and what reads it."""

    id: str
    key: str
    label: str
    follow: bool
    help: str
    source: Callable[[Subject], Source]
    of_run: bool = True


PANES = (
    Pane(
        "info",
        "i",
        "info",
        False,
        "Show the summary, and what went wrong.",
        lambda subject: InfoSource(subject.row, subject.symbols),
    ),
    Pane(
        "events",
        "u",
        "events",
        False,
        "Show spikes, rollbacks and other events, in words.",
        lambda subject: EventsSource(subject.run, subject.symbols),
    ),
    Pane("log", "l", "log", True, "Show the log of the run.", lambda subject: LogSource(subject.run)),
    Pane(
        "samples",
        "m",
        "samples",
        False,
        "Show what the model made of its prompts.",
        lambda subject: SamplesSource(subject.run),
    ),
    Pane(
        "held_out",
        "h",
        "held-out",
        False,
        "Show how a reward model does on held-out prompts.",
        lambda subject: HeldOutSource(subject.run, subject.symbols),
    ),
    Pane(
        "rollouts",
        "w",
        "rollouts",
        False,
        "Show what a policy writes, its rewards and its KL.",
        lambda subject: RolloutsSource(subject.run, subject.symbols),
    ),
    Pane(
        "context",
        "t",
        "context",
        False,
        "Show how far beyond its length it reads.",
        lambda subject: LongContextSource(subject.run, subject.baseline, subject.symbols),
    ),
    Pane(
        "recipe",
        "r",
        "recipe",
        False,
        "Show the recipe and how the baseline differs.",
        lambda subject: RecipeSource(subject.run, subject.baseline),
    ),
    Pane(
        "ranks",
        "d",
        "ranks",
        False,
        "Show each process: speed, memory, stragglers.",
        lambda subject: RanksSource(subject.run, subject.row, subject.symbols),
    ),
    Pane(
        "machine",
        "g",
        "machine",
        False,
        "Show GPUs, cores, memory and disk.",
        lambda subject: MachineSource(subject.symbols),
        of_run=False,
    ),
)
