"""The follower's output, with a clock of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pyte
import pytest

from workbench.cli.follow import Follower, progress_line
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run
from workbench.store.status import Status

MakeRun = Callable[..., Run]
LIVE_LINE = "alpha  running  step 3/6  50 %  loss 4.5000"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def scripted(run: Run, stream: io.StringIO, script: Iterator[Status], step_seconds: float) -> Follower:
    """A follower for which each quarter of a second brings the script's next status, and takes longer."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += step_seconds
        next(script).write(run.status_path)

    return Follower(run, stream, sleep=sleep, clock=lambda: now)


def steps(total: int, last: str = "finished") -> Iterator[Status]:
    """A status a step, then a final one."""
    me = ProcessIdentity.current()
    for step in range(1, total + 1):
        yield Status(state="running", process=me, step=step, max_steps=total, loss=5 - step / total)
    yield Status(state=last, step=total, max_steps=total, loss=4.0)


@pytest.mark.parametrize(
    ("total", "seconds", "least", "most"),
    [
        (300, 0.1, 20, 22),  # fast: every five percent
        (40, 11.0, 30, 41),  # slow: every ten seconds at first
        (500, 200.0, 30, 120),  # a day: far fewer than one in ten seconds
    ],
)
def test_lines_are_few_without_a_terminal(
    total: int, seconds: float, least: int, most: int, make_run: MakeRun
) -> None:
    run = make_run("alpha", state="starting", process=ProcessIdentity.current())
    stream = io.StringIO()
    status = scripted(run, stream, steps(total), seconds).follow()
    lines = stream.getvalue().splitlines()
    progress = [line for line in lines if line.startswith("step ")]
    assert status.state == "finished"
    assert least <= len(progress) <= most
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_terminal_has_one_live_line_and_lasting_events(make_run: MakeRun) -> None:
    run = make_run("alpha", state="starting", process=ProcessIdentity.current())
    stream = Terminal()
    screen = pyte.Screen(100, 30)
    feed = pyte.Stream(screen)
    seen: list[list[str]] = []
    position = 0

    def look() -> None:
        nonlocal position
        feed.feed(stream.getvalue()[position:].replace("\n", "\r\n"))
        position = len(stream.getvalue())
        seen.append([line.rstrip() for line in screen.display if line.strip()])

    def script() -> Iterator[Status]:
        for status in steps(6):
            if status.step == 3:
                (run.path / "checkpoint-3").mkdir()
            look()
            yield status

    scripted(run, stream, script(), 0.25).follow()
    look()
    # One live line below the events at any time, none at the end.
    assert seen[0] == ["starting the worker", "alpha  starting"]
    assert seen[3][1:] == ["training, 6 steps", "saved checkpoint-3", LIVE_LINE]
    assert seen[-1] == ["starting the worker", "training, 6 steps", "saved checkpoint-3"]


def test_the_live_line_fits_the_terminal(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    run = make_run("alpha", state="starting", process=ProcessIdentity.current())
    stream = Terminal()
    scripted(run, stream, steps(3), 0.25).follow()
    drawn = stream.getvalue().replace("\x1b[K", "").replace("\n", "\r").split("\r")
    assert max(map(len, drawn)) == 29


def test_a_run_that_ends_between_two_looks_is_not_lost(make_run: MakeRun) -> None:
    gone = ProcessIdentity(2**22 + 1, 1.0, ProcessIdentity.current().boot, ProcessIdentity.current().host)
    run = make_run("alpha", state="running", process=gone)
    stream = io.StringIO()
    status = scripted(run, stream, iter([Status(state="finished", step=9)]), 0.5).follow()
    assert status.state == "finished"


def test_life_is_waited_for_until_the_recipe_has_proved_itself(make_run: MakeRun) -> None:
    run = make_run("alpha", state="starting", process=ProcessIdentity.current())
    me = ProcessIdentity.current()
    preparing = [Status(state="preparing", process=me) for _ in range(30)]
    failing = iter([*preparing[:3], Status(state="failed")])
    assert scripted(run, io.StringIO(), failing, 0.25).wait_for_life(60).state == "failed"
    Status(state="starting", process=me).write(run.status_path)
    lasting = iter(preparing)
    assert scripted(run, io.StringIO(), lasting, 0.25).wait_for_life(60).state == "preparing"
    assert len(list(lasting)) == 30 - 21
    training = iter([*preparing[:2], *steps(5)])
    assert scripted(run, io.StringIO(), training, 0.25).wait_for_life(60).state == "running"


def test_progress_in_words() -> None:
    preparing = Status(
        state="preparing", progress={"what": "tokenising\x1b[2J", "done": 1200, "total": 45_000}
    )
    assert progress_line(preparing) == r"tokenising\x1b[2J 1200/45k"
    running = Status(state="running", step=120, max_steps=600, loss=3.41234, eval_loss=3.5, eta_seconds=80.0)
    running.tokens_per_second = 12_345.0
    assert (
        progress_line(running) == "step 120/600  20 %  loss 3.4123  eval 3.5000  12.3k tokens/s  ETA 1m 20s"
    )
    assert progress_line(Status(state="running", step=7)) == "step 7"
    assert progress_line(Status(state="running", step=7, loss=float("nan"))) == "step 7  loss nan"
