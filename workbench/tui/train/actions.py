"""What the Train tab does to runs on disk: start, resume, stop, delete, edit. All of it in threads."""

from __future__ import annotations

from collections.abc import Callable

from textual.containers import Container

from workbench import paths
from workbench.errors import WorkbenchError, storage_error
from workbench.store import launch
from workbench.store.runs import delete_run
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control, short_bytes
from workbench.tui.train.exporting import Exports
from workbench.tui.train.rows import Row
from workbench.tui.widgets.confirm import Confirm


class RunActions(Container):
    """The part of the tab that changes something; `row` is the run under the cursor."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.exports = Exports()

    @property
    def row(self) -> Row | None:
        """The run under the cursor."""
        raise NotImplementedError

    def changed_on_disk(self, select: str = "") -> None:
        """Have the runs read again, and go to the run `select` when it is there."""
        raise NotImplementedError

    def _in_thread(self, work: Callable[[], str], select: str = "") -> None:
        """Do blocking work, then say its result, or what kept it from being done."""

        def run() -> None:
            try:
                done = work()
            except WorkbenchError as error:
                notify_error(self.app, error)
            except OSError as error:
                notify_error(self.app, storage_error(error, error.filename or paths.home()))
            else:
                notify(self.app, done)
            self.app.call_from_thread(self.changed_on_disk, select)

        self.run_worker(run, thread=True, group="actions")

    def action_resume(self) -> None:
        row = self.row
        if row is None:
            return
        verb = "Started" if row.state == "queued" else "Resumed"

        def work() -> str:
            launch.start(row.run)
            return f"{verb} {reveal_control(row.name)}"

        self._in_thread(work)

    def action_stop(self) -> None:
        row = self.row
        if row is None:
            return
        name = reveal_control(row.name)
        if row.state == "stopping":
            question = Confirm(
                f"End {name} at once?",
                "It is stopping already. Ending it now loses the steps since its last checkpoint.",
                "end it",
            )
            request = launch.kill
        else:
            question = Confirm(
                f"Stop {name}?", "It writes a checkpoint first; R goes on from there.", "stop it"
            )
            request = launch.request_stop

        def work() -> str:
            request(row.run)
            return f"Ended {name}" if row.state == "stopping" else f"{name} stops after a checkpoint"

        self._ask(question, lambda: self._in_thread(work))

    def action_delete(self) -> None:
        row = self.row
        if row is None:
            return
        name = reveal_control(row.name)
        if row.active:
            notify(self.app, f"{name} is {row.state}; S stops it first")
            return

        def work() -> str:
            size = row.run.size()
            delete_run(row.run)
            return f"Deleted {name}, {short_bytes(size)}"

        detail = f"Metrics, log, checkpoints and the final model in\n{reveal_control(str(row.run.path))}"
        question = Confirm(f"Delete {name}? There is no way back.", detail, "delete it")
        self._ask(question, lambda: self._in_thread(work))

    def _ask(self, question: Confirm, then: Callable[[], None]) -> None:
        self.app.push_screen(question, lambda answer: then() if answer else None)

    def action_export(self) -> None:
        from workbench.tui.train.export_screen import ExportChoice, ExportScreen

        row = self.row
        if row is None:
            return
        if self.exports.busy:
            notify(self.app, "An export is under way; one at a time")
            return

        def chosen(choice: ExportChoice | None) -> None:
            if choice is not None:
                notify(self.app, f"Exporting {row.name} …")
                self.run_worker(
                    lambda: self.exports.run(self.app, row.run, choice), thread=True, group="exports"
                )

        self.app.push_screen(ExportScreen(row.name), chosen)

    def action_ask_both(self) -> None:
        from workbench.tui.train.comparing import ask_both

        if self.row is not None:
            self.run_worker(ask_both(self.app, self.row.run), group="comparing", exclusive=True)

    def action_rank_both(self) -> None:
        from workbench.tui.train.comparing import rank_both

        if self.row is not None:
            self.run_worker(rank_both(self.app, self.row.run), group="comparing", exclusive=True)

    def action_new(self) -> None:
        self._open_form(None)

    def action_edit(self) -> None:
        row = self.row
        if row is not None:
            self._open_form(str(row.run.recipe_path), edit=True)

    def _open_form(self, source: str | None, *, edit: bool = False) -> None:
        from workbench.tui.train.new_run import NewRunScreen

        def started(name: str | None) -> None:
            if name:
                self.changed_on_disk(name)

        self.app.push_screen(NewRunScreen(source, edit=edit), started)
