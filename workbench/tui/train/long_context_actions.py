"""Measuring from the long context screen: what is under way, starting a command for a run, stopping it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from textual import work
from textual.screen import Screen

from workbench.errors import WorkbenchError
from workbench.store import context_jobs
from workbench.store.runs import Run
from workbench.tui.commands import Command
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.text_lines import Line, TextLines, plain

if TYPE_CHECKING:
    from workbench.store.context_jobs import Job, What

    Base = Screen[None]
else:
    Base = object

OPTIONS = {"eval": "--rope-scaling all", "cost": "--lengths 256,1024,4096,16384"}
QUESTIONS = {
    "eval": "options of workbench context eval; enter starts it, esc does not",
    "cost": "options of workbench context cost; enter starts it, esc does not",
}
COMMANDS = (
    Command("long.start", "e", "measure_now", "evaluate", "Start an evaluation, or a measurement of cost."),
    Command("long.stop", "x", "stop_measuring", "stop", "Stop it, or put away what failed.", footer=False),
)


class MeasuringActions(Base):
    """Its keys; the screen gives `run_shown`, `measured`: what is on screen, and the job with its words."""

    run_shown: Run
    job: Job | None = None
    job_words = ""

    @property
    def measured(self) -> What:
        """What `e` starts."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the screen; its title says what the line of options is for."""
        raise NotImplementedError

    @property
    def prompt(self) -> Prompt:
        """Where options are typed."""
        return self.query_one(Prompt)

    def job_lines(self) -> list[Line]:
        """What is under way, or failed."""
        if self.job is None:
            return []
        role = "warn" if self.job.is_running else "bad"
        more = "  (x stops it)" if self.job.is_running else "  (x puts this away)"
        return [((reveal_control(self.job_words), role), (more, "dim"))]

    def action_measure_now(self) -> None:
        if self.job is not None and self.job.is_running:
            notify(self.app, "Something is measured of it already; x stops that.")
            return
        self.prompt.ask(OPTIONS[self.measured], QUESTIONS[self.measured])
        self.redraw()

    def start_measuring(self, options: str) -> None:
        """What the line of options is for."""
        self.put_away_prompt()
        self._start(self.measured, options)

    def put_away_prompt(self) -> None:
        """Hide the line of options."""
        self.prompt.put_away()
        self.query_one(TextLines).focus()
        self.redraw()

    @work(thread=True)
    def _start(self, what: What, options: str) -> None:
        try:
            words = shlex.split(options)
        except ValueError as error:
            notify(self.app, f"These options cannot be read: {error}")
            return
        try:
            context_jobs.start(self.run_shown.path, what, words)
        except WorkbenchError as error:
            notify_error(self.app, error)

    def action_stop_measuring(self) -> None:
        if self.job is not None and not self.job.is_running:
            context_jobs.forget(self.run_shown.path)
            return
        try:
            context_jobs.stop(self.run_shown.path)
        except WorkbenchError as error:
            notify_error(self.app, error)


NOTHING: dict[What, str] = {
    "eval": "e reads it on long text, as it is and by each method of extension.",
    "cost": "e measures its time and memory by the length of the text.",
}


def nothing_line(what: What) -> Line:
    """What is said where nothing was measured yet."""
    return plain(NOTHING[what], "dim")
