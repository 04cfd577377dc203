"""The ranking screen: the prompt, the answers, the order as it is typed.

Keys go into a queue and are done one after the other, so that whoever types ahead of the disk loses none
and none goes to the wrong answers. What needs no disk (focus, scrolling, layout) is done at once.
"""

from __future__ import annotations

from dataclasses import replace

from textual import on
from textual.app import ComposeResult
from textual.events import Click, Resize
from textual.message import Message
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.tui.commands import bindings
from workbench.tui.notices import notice_text
from workbench.tui.rank.answers import Answers
from workbench.tui.rank.commands import RANKING_COMMANDS
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.lines import Lines
from workbench.tui.rank.looking_actions import LookingActions
from workbench.tui.rank.order_line import OrderLine
from workbench.tui.rank.prompt_text import PromptText
from workbench.tui.rank.ranker import Ranker
from workbench.tui.rank.steps import Steps
from workbench.tui.rank.waiting import waiting_lines
from workbench.tui.rank.words import prompt_lines
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

POLL_SECONDS = 1.0


class RankingView(LookingActions, can_focus=True):
    """Where one annotator ranks what there is of a session."""

    HELP_TITLE = "Ranking"
    DEFAULT_CSS = """
    RankingView { height: 1fr; }
    RankingView #rank-standing { height: 1; padding: 0 1; background: $surface; text-style: bold; }
    RankingView #rank-waiting { height: 1fr; padding: 1 2; display: none; }
    RankingView #rank-error { height: auto; max-height: 5; padding: 0 1; display: none; color: $text-error; }
    RankingView #rank-error { text-style: bold; }
    RankingView.-waiting Answers, RankingView.-waiting PromptText { display: none; }
    RankingView.-waiting OrderLine { display: none; }
    RankingView.-waiting #rank-waiting { display: block; }
    """
    BINDINGS = bindings(*RANKING_COMMANDS)

    class NoteWanted(Message):
        """A note is to be typed."""

    class Left(Message):
        """The annotator goes back to the sessions."""

    class ErrorMet(Message):
        """A step could not be done."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.ranker: Ranker | None = None
        self.error: WorkbenchError | None = None
        self._desk = desk
        self._steps = Steps(self._step, self._say_slow)
        self._shown: object = None
        self._works: object = None

    def compose(self) -> ComposeResult:
        yield Static("", id="rank-standing", markup=False)
        yield PromptText()
        yield Answers()
        waiting = Lines(id="rank-waiting")
        waiting.can_focus = False
        yield waiting
        yield Static("", id="rank-error", markup=False)
        yield OrderLine()

    @property
    def idle(self) -> bool:
        """Whether all that was asked for is done."""
        return self._steps.idle

    def on_mount(self) -> None:
        # A worker, so that what goes wrong in it ends the program in sight rather than in silence.
        self.run_worker(self._steps.serve())
        self.set_interval(POLL_SECONDS, self._tick)

    async def on_unmount(self) -> None:
        # What was typed before q is done.
        await self._steps.finish()

    def begin(self, session: str, annotator: str) -> None:
        """Rank a session under a name, from where that annotator left."""
        self._steps.drop()
        self.ranker, self.error, self._shown = Ranker(self._desk, session, annotator), None, None
        self.prompt.amount = "some"
        # Until it is read, what stands there is of another session.
        self.draw()
        self.do("open")

    def pause(self) -> None:
        """Forget which session was ranked."""
        self.ranker = None

    # One step after the other.

    def do(self, step: str, *arguments: str) -> None:
        """Have a step of the ranker done, once those before it are."""
        self._steps.put(step, *arguments)

    async def _step(self, step: str, arguments: tuple[str, ...]) -> None:
        ranker = self.ranker
        if ranker is None:
            return
        if step == "leave":
            self.post_message(self.Left())
            return
        try:
            await getattr(ranker, step)(*arguments)
            self.error = None
        except WorkbenchError as error:
            self.error = error
            # What is behind it was typed for what would have come next.
            self._steps.drop()
        if ranker is self.ranker:
            self.draw()

    def _say_slow(self) -> None:
        if self.is_attached:
            self.query_one(OrderLine).say_busy("waiting for the disk, or for another process that writes …")

    def _tick(self) -> None:
        ranker = self.ranker
        if ranker is None or not self.display or not self.idle:
            return
        standing = ranker.standing
        if ranker.session is None or self.error is not None:
            return
        if ranker.task is None or (standing is not None and standing.coming):
            self.do("poll")

    # What is on screen follows from the ranker.

    def draw(self) -> None:
        """Bring everything in line with the ranker."""
        ranker = self.ranker
        if ranker is None or not self.is_attached or not self.query(OrderLine):
            return
        self._draw_error()
        self._draw_standing(ranker)
        waiting = ranker.task is None
        self.set_class(waiting, "-waiting")
        if waiting:
            self._shown = None
            self.query_one("#rank-waiting", Lines).set_lines(waiting_lines(ranker, self.error))
        elif ranker.task is not None:
            task = ranker.task
            fresh = self._shown != task.turn
            if fresh:
                self._shown = task.turn
                self.answers.take(task.answers)
            self.draw_prompt()
            if fresh:
                # Of a conversation the end is what is answered.
                talk = isinstance(task.prompt.content, list) and len(task.prompt.content) > 1
                self.call_after_refresh(self.prompt.look_at, end=talk)
            self.answers.place(ranker.draft.ranks, ranker.scores.of(task))
            self.query_one(OrderLine).show(ranker)
            if fresh:
                self.call_after_refresh(self._settle)
        # What waits is drawn every second: an idle screen sends nothing.
        works = (waiting, ranker.standing and (ranker.standing.coming, ranker.standing.generating))
        if works != self._works or not waiting:
            self._works = works
            self.refresh_bindings()

    def _settle(self) -> None:
        """Once more, with the sizes that things have now: what was hidden had none."""
        if self.is_attached and self.query(OrderLine):
            self.draw_prompt()
            self.answers.place_all()

    def _draw_error(self) -> None:
        place = self.query_one("#rank-error", Static)
        ranker = self.ranker
        error = self.error or (ranker.unkept if ranker else None)
        place.display = error is not None
        if error is None:
            return
        text = notice_text(error).replace("\n", " · ")
        if self.error is None:
            text = f"what is typed is not kept for after a kill, but enter commits it: {text}"
        elif ranker is not None and ranker.task is not None:
            text += " · what is typed is still here: enter tries again"
        place.update(f"{error.title}: {text}")

    def _draw_standing(self, ranker: Ranker) -> None:
        standing = ranker.standing
        words = f"{ranker.session_name} · {ranker.name}"
        if standing is not None:
            shown = standing if ranker.task is not None else replace(standing, left=0)
            words = shown.words(ranker.session_name, ranker.name)
        if sorting := ranker.scores.words():
            words += f" · {sorting}"
        line = self.query_one("#rank-standing", Static)
        if line.content != (words := reveal_control(words)):
            line.update(words)

    def _prompt_lines(self) -> list[Line]:
        ranker = self.ranker
        if ranker is None or ranker.task is None or ranker.session is None:
            return []
        lines = prompt_lines(ranker.task.prompt, ranker.session.settings.criteria)
        return lines + [plain(f"note  {reveal_control(note)}", "warn") for note in ranker.notes]

    def draw_prompt(self) -> None:
        """See `LookingActions`."""
        width, height = self.size.width, self.size.height
        rest = height - 2  # without the lines of where one stands and of the order
        left, most = rest - self.answers.needed(width), rest - self.answers.least(width)
        self.prompt.show(self._prompt_lines(), width, height, left, most)

    def on_resize(self, event: Resize) -> None:
        self.draw()

    # What the keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Numbers always work, if only to do nothing: else they would change the tab."""
        ranker = self.ranker
        if ranker is None:
            return False
        there = ranker.task is not None
        if action == "put":
            return there or str(parameters[0]).isdecimal()
        if action == "do":
            return there or parameters[0] in ("undo", "redo", "back", "forward")
        if action == "more":
            return there and self.answers.has_more
        return there or action == "leave"

    def do_note(self, text: str) -> None:
        """Keep a note about what is on screen once the steps before are done."""
        self.do("note", text)

    def action_put(self, key: str) -> None:
        self.do("press", key)

    def action_do(self, step: str) -> None:
        self.do(step)

    def action_leave(self) -> None:
        if self.answers.large:
            self.answers.large = False
        else:
            # Behind what was typed before.
            self.do("leave")

    def action_note(self) -> None:
        self.post_message(self.NoteWanted())

    def say(self, words: str) -> None:
        """See `LookingActions`."""
        if self.ranker is not None:
            self.ranker.said = words
            self.draw()

    @on(Click)
    def _clicked(self) -> None:
        self.focus()
