"""What the Build tab does beside drawing: mend, save, open a checkpoint, start a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.containers import Container

from workbench.errors import WorkbenchError
from workbench.recipe import load_mapping
from workbench.store.inspector import Inspector, RequestCancelled
from workbench.tui.build.checks import Finding
from workbench.tui.build.checks_pane import mendable
from workbench.tui.build.design import Design
from workbench.tui.build.fields import FAMILY, OBJECTIVE
from workbench.tui.build.reckoning import DEVICES, Device, Reckoned, device_here, reckon
from workbench.tui.build.saving import preset_path, preset_text, save_preset
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control, short_number
from workbench.tui.widgets.confirm import Confirm
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.tui.build.pane_area import PaneArea
    from workbench.tui.form.editor import FormEditor
    from workbench.tui.form.recipe_draft import RecipeDraft

QUESTIONS = {
    "save": "name of the preset",
    "open": "folder, name of a run, hub name, or .gguf file",
    "find": "words of a preset's name or description",
}


class DesignActions(Container):
    """The state of the tab, and the actions that need more than the screen."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft: RecipeDraft | None = None
        self.design: Design | None = None
        self.reckoned: Reckoned | None = None
        self.findings: Sequence[Finding] = ()
        self.device: Device = device_here()
        self.symbols = "braille"
        self.waiting = ""
        self.seed = 0
        self.by_length = False
        self.question = ""
        self._inspector: Inspector | None = None
        self.asking_inspector = False

    @property
    def area(self) -> PaneArea:
        """The panes."""
        raise NotImplementedError

    @property
    def form(self) -> FormEditor:
        """The form."""
        raise NotImplementedError

    @property
    def prompt(self) -> Prompt:
        """Where names are typed."""
        raise NotImplementedError

    def enter_pane(self, pane: str) -> None:
        """Show a pane and give it the keys."""
        raise NotImplementedError

    def wait_for(self, words: str) -> None:
        """Say at the top of the tab what it is waiting for; nothing says that it does not."""
        raise NotImplementedError

    def draft_changed(self) -> None:
        """Draw everything anew from the draft."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw everything anew from the design."""
        raise NotImplementedError

    def list_starts(self) -> None:
        """Read the presets, and stay on the one that is open."""
        raise NotImplementedError

    def can(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether there is anything for an action to act on."""
        match action:
            case "mend":
                finding = mendable(self.findings)
                number = parameters[0] if parameters else 0
                return finding is not None and isinstance(number, int) and number < len(finding.repairs)
            case "order":
                return self.design is not None and self.design.family.name == "xlnet"
            case "save" | "new_run" | "layout":
                return self.draft is not None
        return True

    def estimate_design(self) -> None:
        """Reckon the present design, where nothing is wrong with it."""
        recipe = self.design.recipe if self.design else None
        self.reckoned = reckon(recipe, self.device) if recipe is not None else None

    def say_broken(self, error: WorkbenchError) -> None:
        """A preset that makes no draft: its error stands where its checks would."""
        self.design, self.reckoned = None, None
        self.findings = (Finding("wrong", (), f"{error.message} ({error.where})"),)

    # Mending, and what is drawn.

    def action_mend(self, number: int) -> None:
        finding = mendable(self.findings)
        if self.draft is None or finding is None or number >= len(finding.repairs):
            return
        repair = finding.repairs[number]
        self.draft.set_values(repair.values)
        if self.form.draft is self.draft:
            self.form.refresh_fields()
        else:
            self.draft_changed()
        notify(self.app, f"Mended: {repair.words}")

    def action_order(self) -> None:
        self.seed += 1
        self.redraw()

    def action_length(self) -> None:
        """Estimates by the length of the text where they are in sight, and back."""
        in_sight = self.area.all_shown or self.area.pane("estimates").display
        self.by_length = not (self.by_length and in_sight)
        self.enter_pane("estimates")
        self.redraw()

    def action_device(self) -> None:
        self.device = DEVICES[(DEVICES.index(self.device) + 1) % len(DEVICES)]
        self.draft_changed()

    # Questions of one line.

    def _ask(self, question: str, value: str) -> None:
        self.question = question
        self.prompt.placeholder = QUESTIONS[question]
        self.prompt.ask(value)

    def take_answer(self, text: str) -> None:
        """What was typed at the present question; nothing is no answer."""
        if text and self.question == "save":
            self._save(text)
        elif text and self.question == "open":
            self._open(text)

    def action_find(self) -> None:
        self._ask("find", "")

    # Saving.

    def action_save(self) -> None:
        if self.draft is None or not self._is_whole():
            return
        self._ask("save", self.draft.stem if not self.draft.source.startswith("models/") else "")

    def _is_whole(self) -> bool:
        """Whether there is a recipe; where there is none, say why."""
        if self.design is not None and self.design.recipe is not None:
            return True
        wrong = next((finding for finding in self.findings if finding.level == "wrong"), None)
        if wrong is not None:
            words = reveal_control(wrong.message)
            self.app.notify(words, title="Not a whole model yet", severity="error", markup=False)
        return False

    @property
    def _parameters(self) -> int | None:
        known = self.reckoned.known if self.reckoned else None
        return known.parameters.total if known else None

    def _save(self, name: str) -> None:
        recipe = self.design.recipe if self.design else None
        if recipe is None:
            return
        text = preset_text(recipe, self._parameters)
        try:
            path = preset_path(name)
        except WorkbenchError as error:
            notify_error(self.app, error)
            return
        write = partial(self._write, name, text)
        if path.exists():
            question = Confirm(f"Replace your preset {name}?", reveal_control(str(path)), "replace it")
            self.app.push_screen(question, lambda answer: write() if answer else None)
        else:
            write()

    def _write(self, name: str, text: str) -> None:
        def work() -> None:
            try:
                path = save_preset(name, text)
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            notify(self.app, f"Saved {reveal_control(str(path))}")
            self.app.call_from_thread(self.list_starts)

        self.run_worker(work, thread=True, group="presets")

    # A run of it.

    def action_new_run(self) -> None:
        """The form of the Train tab with this model; after the start, the Train tab on the run."""
        from workbench.tui.train.new_run import NewRunScreen

        if self.draft is None or not self._is_whole():
            return
        changes = self.draft.changes
        same_kind = FAMILY not in changes and OBJECTIVE not in changes
        source = run_preset(self.draft.source) if same_kind else self.draft.source
        screen = NewRunScreen(source, changes=changes)
        self.app.push_screen(screen, self._started)

    def _started(self, name: str | None) -> None:
        from workbench.tui.train.showing import show_run

        show_run(self.app, name)

    # How it is split over devices.

    def action_layout(self) -> None:
        """The planner of layouts, on the GPU that the estimates reckon with."""
        from workbench.tui.build.layout_screen import LayoutScreen

        recipe = self.design.recipe if self.design else None
        if self.draft is None or not self._is_whole() or recipe is None:
            return
        gpu = self.device.gpu.name if self.device.gpu else "H100"
        self.app.push_screen(LayoutScreen(recipe, self.draft.stem, gpu))

    # What more compute buys.

    def action_scaling(self) -> None:
        """The view of scaling laws."""
        from workbench.tui.build.scaling_screen import ScalingScreen

        self.app.push_screen(ScalingScreen())

    # An existing checkpoint.

    def action_open(self) -> None:
        self._ask("open", "")

    def _open(self, name: str) -> None:
        if self._inspector is None:
            self._inspector = Inspector()
        inspector = self._inspector
        self.asking_inspector = True
        self.wait_for(f"esc cancels · opening {name}")

        def progress(what: str, done: int, total: int | None) -> None:
            words = f"{what} {short_number(done)}" + (f" of {short_number(total)}" if total else "")
            self._from_thread(lambda: self.wait_for(f"esc cancels · {words}"))

        def work() -> None:
            try:
                answer = inspector.request("model", progress=progress, name=_place_of(name))
            except RequestCancelled:
                self._from_thread(lambda: self._opened(None))
            except WorkbenchError as error:
                notify_error(self.app, error)
                self._from_thread(lambda: self._opened(None))
            else:
                self._from_thread(lambda: self._opened(answer))

        self.run_worker(work, thread=True, group="inspector")

    def _from_thread(self, work: Callable[[], None]) -> None:
        # The tab may have gone, with the app, while the answer was on its way.
        if self.is_attached and self.app.is_running:
            self.app.call_from_thread(work)

    def _opened(self, answer: dict[str, Any] | None) -> None:
        self.asking_inspector = False
        self.wait_for("")
        if answer is not None:
            self.area.opened.show(answer)
            self.enter_pane("checkpoint")

    def cancel_inspector(self) -> None:
        if self._inspector is not None:
            self._inspector.cancel()

    def close_inspector(self) -> None:
        if self._inspector is not None:
            self._inspector.close()


def run_preset(source: str) -> str:
    """The preset of runs that trains just the model of a preset of models, with settings that suit it; the
    source itself where there is none."""
    name = source.removeprefix("models/")
    try:
        alike = load_mapping(name).get("model") == load_mapping(source).get("model")
    except WorkbenchError:
        return source
    return name if alike else source


def _place_of(name: str) -> str:
    """A run's name stands for its final model, or its newest checkpoint; everything else for itself."""
    from pathlib import Path

    from workbench.store.runs import find_run

    if Path(name).expanduser().exists():
        return str(Path(name).expanduser())
    try:
        run = find_run(name)
    except WorkbenchError:
        return name
    if run.final_path.is_dir():
        return str(run.final_path)
    checkpoints = run.checkpoints()
    return str(checkpoints[-1]) if checkpoints else str(run.path)
