"""Sending, hearing, cancelling, allowing: what goes on between the columns and their models."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import on
from textual.containers import Container
from textual.widget import Widget

from workbench.errors import WorkbenchError
from workbench.store import history
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.backstage import Backstage
from workbench.tui.playground.catalog import Catalog
from workbench.tui.playground.column import Column
from workbench.tui.playground.column_record import record_of
from workbench.tui.playground.job import Job, Opening
from workbench.tui.playground.setup import ModelChoice, Setup
from workbench.tui.playground.tool_question import ToolQuestion
from workbench.tui.playground.writing import Writing
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.tui.playground.editor import PromptEditor
    from workbench.tui.playground.outgoing import Outgoing

R = TypeVar("R")


class Conversing(Container):
    """The state of the tab: its columns, what is written, and the thread of the conversations."""

    make_catalog: ClassVar[Callable[[], Catalog]] = Catalog
    ALLOW_AFTER: ClassVar[float] = 0.4
    """Seconds a question about a tool must have been in sight: keys typed before it came are no answer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.backstage = Backstage(type(self).make_catalog)
        self.writing = Writing()
        self.columns = [Column(Setup())]
        self.active = 0
        self.sent: list[str] = []
        self._recalled = 0
        self._asked_at = 0.0
        self._watching: Future[None] | None = None
        # One thread, so that a question stands before its answers.
        self._keeping = ThreadPoolExecutor(1, "history")

    # What the tab is made of.

    @property
    def column(self) -> Column:
        """The active column."""
        return self.columns[self.active]

    @property
    def editor(self) -> PromptEditor:
        """Where prompts are written."""
        raise NotImplementedError

    @property
    def question(self) -> Prompt:
        """Where names and folders are typed."""
        raise NotImplementedError

    @property
    def place(self) -> Widget:
        """What has the keys when nothing is typed."""
        raise NotImplementedError

    def take_keys(self) -> None:
        """Have the keys go to `place`, at once."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Bring the screen in line with the columns."""
        raise NotImplementedError

    def look_on(self) -> None:
        """Look at what comes until nothing more will."""
        raise NotImplementedError

    async def fit_panes(self) -> None:
        """Have one pane a column."""
        raise NotImplementedError

    def activate(self, column: Column) -> None:
        """Make a column the active one."""
        raise NotImplementedError

    def choose_model(self, then: Callable[[Column], object]) -> None:
        """Have a model chosen for the active column, and go on with that."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way in any column."""
        return any(column.busy for column in self.columns)

    def behind(
        self, work: Future[R], then: Callable[[R], None], failed: Callable[[], None] | None = None
    ) -> None:
        """When something on the other thread is done, take its result here; errors are shown."""

        def done(future: Future[R]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                self.call_later(then, future.result())
                return
            if failed is not None:
                self.call_later(failed)
            shown = (
                error
                if isinstance(error, WorkbenchError)
                else WorkbenchError(f"{type(error).__name__}: {error}")
            )
            self.call_later(notify_error, self.app, shown)

        work.add_done_callback(done)

    def keep(self, write: Callable[[], object]) -> None:
        """Write to the history; what the disk refuses is shown."""
        self.behind(self._keeping.submit(write), lambda _: None)

    # Sending.

    def action_send(self) -> None:
        """Send what is written to every column."""
        missing = self.writing.missing()
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
        elif missing:
            self._ask_for(missing)
        elif self.column.setup.model is None:
            self.choose_model(lambda column: self.action_send())
        else:
            ask = self.writing.outgoing
            goes_on = self.writing.goes_on
            self._send([ask(column.setup, column.messages if goes_on else ()) for column in self.columns])
            if goes_on:
                self.writing.fill("")
                self.editor.show()
            else:
                # What is typed next replaces it; an arrow key keeps it, to be changed.
                self.editor.area.select_all()

    def _ask_for(self, missing: str) -> None:
        names = [slot.name for slot in self.writing.slots]
        self.writing.current = names.index(missing)
        self.editor.show()
        self.editor.write()
        if len(names) > 2 or self.writing.prompt is not None:
            notify(self.app, f"{missing} is still empty")

    def action_resend(self) -> None:
        """Send the last prompt again, to models and by techniques as they are chosen now."""
        if self.busy:
            notify(self.app, "an answer is still on its way; esc cancels it")
            return
        if self.column.setup.model is None:
            self.choose_model(lambda column: self.action_resend())
            return
        last = self.column.outgoing
        if last is None:
            return
        self._send(
            [replace(column.outgoing or last, setup=column.setup) for column in self.columns],
        )

    def _send(self, all_outgoing: list[Outgoing]) -> None:
        """Start a job for each column that has a model; the history keeps all as one."""
        name = history.new_id()
        question = all_outgoing[0].question
        self.sent.append(question)
        self._recalled = 0
        setups = [outgoing.setup.as_json() for outgoing in all_outgoing]
        sent = {**all_outgoing[0].as_json(), "setups": setups}
        self.keep(lambda: history.add_sent(name, sent))
        for column, outgoing in zip(self.columns, all_outgoing, strict=True):
            if outgoing.setup.model is None:
                continue
            column.history_id = name
            job = Job(outgoing)
            column.send(job, question)
            job.start(self.backstage)
        self._watch()
        self.look_on()

    def _watch(self) -> None:
        """From now on hear of engines that end."""
        if self._watching is None:
            self._watching = self.backstage.run(
                self.backstage.catalog.watch(
                    lambda choice, error: self.call_later(self._engine_gone, choice, error)
                )
            )

    def _engine_gone(self, choice: ModelChoice, error: WorkbenchError) -> None:
        for column in self.columns:
            if column.setup.model == choice and not column.busy:
                column.gone = error.message
                column.revision += 1
        self.redraw()

    def warm(self, column: Column) -> None:
        """Open the column's model before anything is sent."""
        if column.setup.model is not None and not column.busy:
            opening = Opening(column.setup.model)
            column.warm(opening)
            opening.start(self.backstage)
            self._watch()
            self.look_on()

    def action_start(self) -> None:
        """Start the engine behind the column again."""
        self.warm(self.column)

    # Hearing.

    def take_events(self) -> bool:
        """Take all that has come; whether more may come."""
        for number, column in enumerate(self.columns):
            if column.warming is not None:
                for event in column.warming.take():
                    column.take_warming(event)
            if column.job is None:
                continue
            had_asked = column.pending
            for event in column.job.take():
                column.take(event)
            if column.pending is not None and column.pending is not had_asked:
                self._tool_asks(number)
            if not column.busy:
                self._keep_answer(number, column)
        return any(column.busy or column.warming is not None for column in self.columns)

    def _keep_answer(self, number: int, column: Column) -> None:
        record, name = record_of(column), column.history_id
        self.keep(lambda: history.add_answer(name, number, record))

    def _tool_asks(self, number: int) -> None:
        self._asked_at = time.monotonic()
        if self.column.pending is None:
            self.active = number
        self.redraw()
        # Whoever is in the middle of a text is not interrupted: esc leads to the question.
        if not (self.editor.active and self.writing.slot.text):
            self.take_keys()

    @on(ToolQuestion.Answered)
    def _tool_answered(self, message: ToolQuestion.Answered) -> None:
        message.stop()
        if time.monotonic() - self._asked_at < self.ALLOW_AFTER:
            return
        message.column.answer_pending(message.allowed, always=message.always)
        waiting = [column for column in self.columns if column.pending is not None]
        self.activate(waiting[0] if waiting else message.column)

    def cancel(self) -> None:
        """Give up everything that goes on."""
        for column in self.columns:
            if column.job is not None:
                column.job.cancel()

    def end(self) -> None:
        """The interface ends: keep what has come, and have servers end their work."""
        for number, column in enumerate(self.columns):
            if column.busy:
                column.leave()
                self._keep_answer(number, column)
        self.backstage.close()
        self._keeping.shutdown()
