"""What the view of scaling laws does: plan, run, stop, fit, predict, ask. Everything is a command too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from workbench.errors import WorkbenchError
from workbench.tui.build import scaling_drafts as drafts
from workbench.tui.build.scaling_reading import Reading, command
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.store.scaling_studies import Study

QUESTIONS = {
    "name": "name of the new study",
    "predict": "8x the largest compute, FLOPs as in 1e14, or parameters and tokens as in 1e6 2e7",
}


class StudyActions(Screen[None]):
    """The actions of the screen; what they change is read back from the disk."""

    reading: Reading
    chosen: str
    question: str
    predicted: dict[str, Any] | None
    predicted_arguments: list[str]
    waiting = ""
    draft = ""
    draft_of = ""

    @property
    def prompt(self) -> Prompt:
        """Where names and sizes are typed."""
        raise NotImplementedError

    def look(self) -> None:
        """Read the disk."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw what is known."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        view = self.reading.view
        running = view is not None and view["state"] in ("running", "stopping")
        match action:
            case "run_queue":
                return view is not None and not running
            case "stop_queue":
                return running
            case "fit" | "predict":
                return view is not None and view["counts"]["done"] > 0
            case "ask_sums":
                return view is not None and view["counts"]["done"] > 0
            case "edit":
                return view is not None and not view["begun"]
            case "delete":
                return bool(self.reading.name) and not running
            case "start_predicted":
                return self.predicted is not None
        return True

    @property
    def study(self) -> Study:
        """The chosen study. Raises `RunError`."""
        from workbench.store.scaling_studies import find_study

        return find_study(self.reading.name)

    def work(self, words: str, do: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do something long in a thread, saying so; errors are shown."""
        self.waiting = words
        self.draw()

        def run() -> None:
            result, error = None, None
            try:
                result = do()
            except WorkbenchError as caught:
                error = caught
            if self.is_attached and self.app.is_running:
                self.app.call_from_thread(self._done, result, error, then)

        self.run_worker(run, thread=True, group="scaling-work")

    def _done(self, result: Any, error: WorkbenchError | None, then: Callable[[Any], None]) -> None:
        self.waiting = ""
        if error is not None:
            notify_error(self.app, error)
        else:
            then(result)
        self.draw()
        self.look()
        self.refresh_bindings()

    def ask_command(self, arguments: Sequence[str]) -> Any:
        """What a command answers; it ends with the program."""
        app = self.app
        return command(arguments, lambda: not app.is_running)

    # Planning. What was edited is kept on disk until it is planned: it may be an hour's work.

    def action_new(self) -> None:
        """Choose a preset, change it in the editor, name it."""
        from workbench.scaling.study_files import study_presets
        from workbench.tui.rank.choice_screen import ChoiceScreen

        presets = study_presets()
        choices = [
            (name, reveal_control(name), reveal_control(words)) for name, (_, words) in presets.items()
        ]
        kept = drafts.read()
        if kept is not None:
            choices.insert(0, (drafts.CHOICE, "your draft", "What you edited last, and was not planned."))

        def chosen(name: str | None) -> None:
            if name is None:
                return
            stem = "study" if name == drafts.CHOICE else name
            text = kept if name == drafts.CHOICE else presets[name][0].read_text(encoding="utf-8")
            if self._edit(text or "", ""):
                self._ask("name", self._free_name(stem))

        self.app.push_screen(ChoiceScreen("A study from a preset", choices), chosen)

    def _free_name(self, stem: str) -> str:
        taken = {name for name, _, _ in self.reading.rows}
        return next(
            name for name in (stem, *(f"{stem}-{number}" for number in range(2, 1000))) if name not in taken
        )

    def action_edit(self) -> None:
        name = self.reading.name
        try:
            text = self.study.spec_path.read_text(encoding="utf-8")
        except (WorkbenchError, OSError) as error:
            self.app.notify(reveal_control(str(error)), severity="error", markup=False)
            return
        # Where the last edit of it was refused, it goes on from there.
        if self._edit(drafts.read(name) or text, name):
            self._plan(name)

    def _edit(self, text: str, of: str) -> bool:
        """Have the text edited, of a study or of a new one; whether there is something to plan."""
        from workbench.tui import editor

        try:
            self.draft, self.draft_of = editor.edit(self.app, text, "study.yaml"), of
        except WorkbenchError as error:
            notify_error(self.app, error)
            return False
        try:
            drafts.write(self.draft, of)
        except WorkbenchError as error:
            # Then it is in memory alone: all the more it is to be planned.
            notify_error(self.app, error)
        return True

    def _plan(self, name: str) -> None:
        text, of = self.draft, self.draft_of

        def do() -> Any:
            with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
                path = Path(folder, "study.yaml")
                path.write_text(text, encoding="utf-8")
                return self.ask_command(["plan", str(path), "--name", name])

        def then(found: Any) -> None:
            self.chosen = str(found["name"])
            if drafts.read(of) == text:
                drafts.remove(of)
            notify(self.app, f"Planned {found['name']}: {len(found['runs'])} runs; R starts them")

        self.work("planning, and preparing the data …", do, then)

    # The queue.

    def action_run_queue(self, jobs: int) -> None:
        from workbench.scaling.queue import start_queue

        study = self.study
        self.work(
            "starting the queue …",
            lambda: start_queue(study, jobs),
            lambda _: notify(self.app, f"The queue of {study.name} runs by itself"),
        )

    def action_stop_queue(self) -> None:
        from workbench.scaling.queue import request_stop

        study = self.study
        self.work(
            "stopping …",
            lambda: request_stop(study),
            lambda _: notify(self.app, "The runs write a checkpoint, then the queue stops"),
        )

    def action_delete(self) -> None:
        from workbench.store.scaling_studies import delete_study
        from workbench.tui.widgets.confirm import Confirm

        study = self.study

        def answered(yes: bool | None) -> None:
            if yes:
                self.chosen = ""
                self.work("removing …", lambda: delete_study(study), lambda _: None)

        question = Confirm(f"Remove the study {study.name}?", "Its runs stay.", "remove it")
        self.app.push_screen(question, answered)

    # The law.

    def action_fit(self) -> None:
        name = self.reading.name
        self.work(
            "fitting …",
            lambda: self.ask_command(["fit", name]),
            lambda found: notify(self.app, f"Fitted {len(found['points'])} runs; l shows the law"),
        )

    def action_predict(self) -> None:
        self._ask("predict", "8x")

    def _ask(self, question: str, value: str) -> None:
        self.question = question
        self.prompt.ask(value, QUESTIONS[question])

    def take_answer(self, text: str) -> None:
        """What was typed at the question."""
        if self.question == "name":
            self._plan(text)
        elif self.question == "predict":
            words = text.replace(",", " ").split()
            arguments = (
                ["--compute", words[0]]
                if len(words) == 1
                else ["--parameters", words[0], "--tokens", *words[1:]]
            )
            self.predicted_arguments = [self.reading.name, *arguments]
            words = ["predict", *self.predicted_arguments]
            self.work("predicting …", lambda: self.ask_command(words), self._predicted)

    def _predicted(self, found: Any) -> None:
        self.predicted = found
        self.action_pane("predict")

    def action_pane(self, pane: str) -> None:
        """Show a pane."""
        raise NotImplementedError

    def action_start_predicted(self) -> None:
        arguments = [*self.predicted_arguments, "--start"]

        def then(found: Any) -> None:
            notify(self.app, f"Started {found['run']}; the Train tab shows it beside its prediction")

        self.work("starting …", lambda: self.ask_command(["predict", *arguments]), then)

    def action_ask_sums(self) -> None:
        name = self.reading.name

        def then(found: Any) -> None:
            self.action_pane("sums")

        self.work("asking sums …", lambda: self.ask_command(["emergence", name]), then)
