"""The layout planner: how a design is split over GPUs, what each way costs, and how it looks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.tui.build.layout_list import Asked, LayoutList
from workbench.tui.build.picture import Picture
from workbench.tui.commands import Command, bindings
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.recipe import Recipe
    from workbench.scaling.layouts import Found, Layout, Plan, Setting

WIDE = 140
MOST_DEVICES = 1 << 15
QUESTIONS = {
    "batch": "rows of an optimiser step, over all devices; empty: as the recipe has it",
    "length": "tokens in a row; empty: as the recipe has it",
    "layout": "a layout, such as dp=8,tp=4,pp=2,shard=8,v=2,rows=1,recompute=full",
    "write": "file for the recipe with this layout, ending in .yaml",
}


class LayoutScreen(ModalScreen[None]):
    """The layouts above or at the left, the one under the cursor below or beside."""

    HELP_TITLE = "Layouts"
    DEFAULT_CSS = """
    LayoutScreen { background: $background; }
    LayoutScreen #layout-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    LayoutScreen #layout-head { height: 1; color: $text-muted; padding: 0 1; }
    LayoutScreen #layout-body { layout: vertical; height: 1fr; }
    LayoutScreen #layout-list { height: 8; }
    LayoutScreen Picture { height: 1fr; }
    LayoutScreen.-wide #layout-body { layout: horizontal; }
    LayoutScreen.-wide #layout-list { width: 76; height: 1fr; }
    LayoutScreen.-wide Picture { width: 1fr; border-left: solid $panel; }
    """
    BINDINGS = bindings(
        Command("layout.device", "g", "device(1)", "GPU", "Plan for the next kind of GPU."),
        Command("layout.device_before", "G", "device(-1)", "GPU", "Plan for the kind before.", footer=False),
        Command("layout.more", "plus,equals_sign", "devices(2)", "more", "Twice as many GPUs."),
        Command("layout.fewer", "minus", "devices(0.5)", "fewer", "Half as many GPUs."),
        Command("layout.batch", "b", "ask('batch')", "batch", "Rows of an optimiser step."),
        Command("layout.length", "l", "ask('length')", "length", "Tokens in a row."),
        Command("layout.type", "e", "ask('layout')", "a layout", "Look at a layout that you type."),
        Command("layout.write", "w", "ask('write')", "write", "Write the recipe with this layout."),
        Command("layout.into", "enter,tab", "into", "scroll", "Into the figures to scroll, and out."),
        Command("layout.back", "escape,p", "back", "back", "Back to where one was."),
        Command("layout.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    def __init__(self, recipe: Recipe, name: str, gpu: str = "H100", gpus: int = 8) -> None:
        super().__init__()
        self.recipe, self.named = recipe, name
        self.asked = Asked(gpu, gpus)
        self._next = self.asked
        self._number = 0
        self.question = ""
        self.plans: list[Plan] = []
        self._setting: Setting | None = None
        self._found: Found | None = None
        self._wanted: Layout | None = None

    def compose(self) -> ComposeResult:
        yield Static("", id="layout-title", markup=False)
        yield Prompt("", id="layout-prompt")
        with Container(id="layout-body"):
            with Container(id="layout-list"):
                yield Static("", id="layout-head", markup=False)
                yield LayoutList(compact=True)
            yield Picture(id="layout-figures")
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.layouts.focus()
        self.reckon()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= WIDE, "-wide")

    @property
    def layouts(self) -> LayoutList:
        """The list."""
        return self.query_one(LayoutList)

    @property
    def prompt(self) -> Prompt:
        """Where numbers, layouts and names of files are typed."""
        return self.query_one(Prompt)

    @property
    def plan(self) -> Plan | None:
        """The layout under the cursor."""
        place = self.layouts.highlighted
        return self.plans[place] if place is not None and place < len(self.plans) else None

    # Reckoning, in a thread: a thousand devices have hundreds of layouts.

    def reckon(self, asked: Asked | None = None) -> None:
        """Look for layouts; what cannot be planned for is told, and what was there stays.

        A thread goes on when a newer one has begun: what it finds then is not shown.
        """
        asked = asked or self.asked
        self._next, self._number = asked, self._number + 1
        number = self._number
        self._title("reckoning …")

        def work() -> None:
            from workbench.scaling.layouts import cluster, search, setting_of
            from workbench.scaling.layouts.model import model_of
            from workbench.scaling.layouts.subject import Subject

            try:
                subject = Subject(model_of(self.recipe, self.named), self.recipe)
                on = cluster(asked.gpu, asked.gpus)
                setting = setting_of(subject, on, length=asked.length, global_batch=asked.batch)
                found = search(setting)
            except WorkbenchError as error:
                told = error
                self._from_thread(lambda: self._refuse(number, told))
                return
            self._from_thread(lambda: self._take(number, asked, setting, found))

        self.run_worker(work, thread=True, group="layouts", exclusive=True)

    def _from_thread(self, work: object) -> None:
        if self.is_attached and self.app.is_running:
            self.app.call_from_thread(work)  # type: ignore[arg-type]

    def _refuse(self, number: int, error: WorkbenchError) -> None:
        if number == self._number:
            self._next = self.asked
            notify_error(self.app, error)
            self._title(None)

    def _take(self, number: int, asked: Asked, setting: Setting, found: Found) -> None:
        if number == self._number:
            self.asked, self._setting, self._found = asked, setting, found
            self._show([*found.fitting, *found.too_large])

    def _show(self, plans: list[Plan]) -> None:
        from workbench.tui.build.layout_lines import head_words, place_of, row_words

        self.plans = plans
        self.query_one("#layout-head", Static).update(head_words())
        self.layouts.clear_options()
        for plan in plans:
            self.layouts.add_option(Option(Text(row_words(plan), "" if plan.fits else "dim", no_wrap=True)))
        if plans:
            self.layouts.highlighted = place_of(plans, self._wanted)
        self._title(None)
        self._draw()

    def _title(self, words: str | None) -> None:
        from workbench.tui.build.layout_lines import setting_words

        if words is None:
            words = self.named
            if self.plans and self._found is not None:
                fit = len(self._found.fitting)
                words = (
                    f"{setting_words(self.plans[0], self.named)} · {fit or 'none'} of {len(self.plans)} fit"
                )
        self.query_one("#layout-title", Static).update(reveal_control(words))

    def _draw(self) -> None:
        from workbench.tui.build.layout_lines import layout_lines
        from workbench.tui.widgets.text_lines import plain

        plan, symbols = self.plan, getattr(self.app, "symbols", "braille")
        nothing = "No layout shares these rows among so many devices: b gives a step more of them."

        self.query_one(Picture).draw(
            lambda width, height: layout_lines(plan, width, symbols) if plan else [plain(nothing, "warn")]
        )

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        if self.plan is not None:
            self._wanted = self.plan.layout
        self._draw()
        self.query_one(Picture).scroll_home(animate=False)

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.action_into()

    # What keys change.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not isinstance(self.app.focused, Input) or action == "back"

    def action_device(self, by: int) -> None:
        from workbench.models.estimate import GPUS

        names, last = list(GPUS), self._next
        here = names.index(last.gpu) if last.gpu in names else 0
        self.reckon(replace(last, gpu=names[(here + by) % len(names)]))

    def action_devices(self, factor: float) -> None:
        # From what is being reckoned, which may not be shown yet.
        gpus = round(self._next.gpus * factor)
        if 1 <= gpus <= MOST_DEVICES:
            self.reckon(replace(self._next, gpus=gpus))

    def action_ask(self, question: str) -> None:
        plan = self.plan
        if question == "write" and plan is None:
            return
        present = {
            "batch": "" if self._setting is None else str(self._setting.global_batch),
            "length": "" if self._setting is None else str(self._setting.length),
            "layout": plan.layout.words() if plan else "",
            "write": f"{self.named.rpartition('/')[2].removesuffix('.yaml')}-{self.asked.gpus}.yaml",
        }
        self.question = question
        self.prompt.ask(present[question], QUESTIONS[question])

    @on(Input.Submitted, "#layout-prompt")
    def _answered(self, message: Input.Submitted) -> None:
        message.stop()
        text = message.value.strip()
        self.prompt.put_away()
        self.layouts.focus()
        try:
            self._take_answer(text)
        except WorkbenchError as error:
            notify_error(self.app, error)

    def _take_answer(self, text: str) -> None:
        if self.question in ("batch", "length"):
            if text and (not text.isdecimal() or int(text) < 1):
                notify(self.app, f"“{reveal_control(text)}” is no number from 1 up")
                return
            number = int(text) if text else None
            asked = self._next
            is_batch = self.question == "batch"
            self.reckon(replace(asked, batch=number) if is_batch else replace(asked, length=number))
        elif self.question == "layout" and text:
            self._look_at(text)
        elif self.question == "write" and text:
            self._write(text)

    def _look_at(self, text: str) -> None:
        """Put a typed layout at the top of the list. Raises `UsageError`, with the nearest that can be."""
        from workbench.errors import UsageError
        from workbench.scaling.layouts import completed, explain, nearest_words, parse, plan

        if self._setting is None or self._found is None:
            return
        layout = completed(parse(text), self._setting)
        wrong, other = explain(layout, self._setting, self._found)
        if wrong:
            raise UsageError("; ".join(wrong), where=text, hint=nearest_words(other))
        own = plan(self._setting, layout)
        self._wanted = layout
        self._show([own, *self._found.fitting, *self._found.too_large])

    def _write(self, text: str) -> None:
        """Write the recipe with the layout under the cursor. Raises `WorkbenchError`."""
        from pathlib import Path

        from workbench.errors import UsageError
        from workbench.scaling.layouts import recipe_with
        from workbench.store.files import replace_file

        path, plan = Path(text).expanduser(), self.plan
        if plan is None:
            return
        if path.suffix not in (".yaml", ".yml"):
            raise UsageError("a recipe file ends in .yaml", where=text)
        if path.exists():
            raise UsageError("there is such a file already", where=str(path), hint="another name")
        replace_file(path, recipe_with(self.recipe, plan, self.named).encode())
        notify(self.app, f"Wrote {reveal_control(str(path))}; workbench train starts it")

    def action_into(self) -> None:
        figures = self.query_one(Picture)
        (self.layouts if self.app.focused is figures else figures).focus()

    def action_back(self) -> None:
        if self.prompt.asked:
            self.prompt.put_away()
            self.layouts.focus()
        elif self.app.focused is not self.layouts:
            self.layouts.focus()
        else:
            self.dismiss(None)
