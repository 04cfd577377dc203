"""Following a run: what it did so far, then its progress until it ends.

On a terminal there is one live line, rewritten in place, and a lasting line for each event; elsewhere
there are only lasting lines, and few of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TextIO

from workbench import units
from workbench.cli import render
from workbench.cli.events import EventReader
from workbench.errors import RunError
from workbench.store.runs import Run
from workbench.store.status import FINAL_STATES, LOST, Status

POLL_SECONDS = 0.25
LINE_SECONDS = 10.0
LINE_SHARE = 0.05
# A reader sees `running`, then the process gone, when a worker ends between the two looks.
CONFIRM_LOST_SECONDS = 0.5
PREPARING_SECONDS = 5.0


class Follower:
    """Prints a run's progress to `stream` until it ends.

    Make it before the worker is started, so that nothing the worker does counts as old. `has_ended`
    may then be set to what says at once that the worker's process is gone.
    """

    def __init__(
        self,
        run: Run,
        stream: TextIO,
        *,
        samples: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.stream = stream
        self.has_ended: Callable[[], bool] = lambda: False
        self.sleep = sleep
        self.clock = clock
        self.live = render.is_terminal(stream)
        self.events = EventReader(run, samples=samples)
        self._shown = ""
        self._started = self._last_line = clock()
        self._last_share = -1.0
        self._last_text = ""

    def follow(self) -> Status:
        """Print until the run has ended; returns its last status, with `state` as a person sees it."""
        try:
            for status in self.readings():
                for line in self.events.poll(status):
                    self._lasting(line)
                self._progress(status)
            return status
        except KeyboardInterrupt:
            if self._shown:
                self.stream.write("\n")  # leave the live line as the last word
                self._shown = ""
            raise
        finally:
            self._clear()

    def readings(self) -> Iterator[Status]:
        """The run's status, four times a second, up to and with the final one."""
        while True:
            status = self._read()
            yield status
            if status.state in (*FINAL_STATES, LOST, "unknown"):
                return
            self.sleep(POLL_SECONDS)

    def wait_for_life(self, timeout: float, grace: float = PREPARING_SECONDS) -> Status:
        """Wait until the worker trains, or has prepared for `grace` seconds, or how it failed.

        What is wrong with a recipe's sources or model shows in the first seconds of preparing.
        """
        deadline = self.clock() + timeout
        for status in self.readings():
            now = self.clock()
            if status.state == "preparing":
                deadline = min(deadline, now + grace)
            if status.state not in ("queued", "starting", "preparing") or now >= deadline:
                break
        return status

    def _read(self) -> Status:
        ended = self.has_ended()
        status = self.run.status()
        status.state = status.seen_state()
        if status.state == LOST and not ended:
            self.sleep(CONFIRM_LOST_SECONDS)
            status = self.run.status()
            status.state = status.seen_state()
        if ended and status.state not in FINAL_STATES:
            status.state = LOST
        return status

    def _progress(self, status: Status) -> None:
        text = progress_line(status)
        if self.live:
            room = render.columns() - 1
            self._rewrite(render.clip(f"{self.run.name}  {status.state}  {text}", room))
            return
        if status.state != "running" or not status.step or text == self._last_text:
            return
        now = self.clock()
        share = status.step / status.max_steps if status.max_steps else 0.0
        # Ten seconds is right for a short run and a flood for a long one: wait longer as time goes.
        wait = max(LINE_SECONDS, (now - self._started) / 20)
        if share - self._last_share >= LINE_SHARE - 1e-9 or now - self._last_line >= wait:
            self._last_share, self._last_line, self._last_text = share, now, text
            self._lasting(text)

    def _lasting(self, line: str) -> None:
        self._clear()
        print(line, file=self.stream, flush=True)

    def _rewrite(self, text: str) -> None:
        if text != self._shown:
            self.stream.write("\r\x1b[K" + text)
            self.stream.flush()
            self._shown = text

    def _clear(self) -> None:
        if self._shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._shown = ""


def progress_line(status: Status) -> str:
    """Where a run is, on one line."""
    if status.progress and status.state in ("starting", "preparing"):
        what, done, total = (status.progress.get(key) for key in ("what", "done", "total"))
        amount = f" {render.count(done)}" if isinstance(done, (int, float)) else ""
        amount += f"/{render.count(total)}" if amount and isinstance(total, (int, float)) and total else ""
        return render.literal(f"{what or ''}{amount}")
    if not status.step:
        return render.literal(status.message)
    share = f" {100 * status.step / status.max_steps:3.0f} %" if status.max_steps else ""
    parts = [f"step {status.step:,}/{status.max_steps or 0:,}{share}" if share else f"step {status.step:,}"]
    for name, value in (("loss", status.loss), ("eval", status.eval_loss)):
        if value is not None:
            parts.append(f"{name} {value:.4f}")
    if status.tokens_per_second:
        parts.append(f"{render.count(status.tokens_per_second)} tokens/s")
    if status.eta_seconds is not None and status.state == "running":
        parts.append(f"ETA {units.duration(status.eta_seconds)}")
    return "  ".join(parts)


def outcome(run: Run, status: Status) -> int:
    """Say on standard error how a run ended; returns the exit code. Raises the worker's own error."""
    step = f" at step {status.step:,}" if status.step else ""
    if status.state == "finished":
        render.talk(f"“{run.name}” is finished{step}; the model is in {run.final_path}")
        return 0
    if status.state == "stopped":
        render.talk(f"“{run.name}” was stopped{step}; go on with: workbench runs resume {run.name}")
        return 0
    raise failure(run, status)


class RunFailure(RunError):
    """A run's own error, shown under the title its worker gave it."""

    def __init__(self, title: str, message: str, *, where: str, hint: str) -> None:
        super().__init__(message, where=where, hint=hint)
        self.title = title


def failure(run: Run, status: Status) -> RunError:
    """The error of a failed or lost run, as its worker worded it if it could."""
    if status.state == LOST or not status.error:
        what = "its process is gone" if status.state == LOST else status.message or "no reason was given"
        last = log_end(run)
        return RunError(
            f"“{run.name}” is {status.state}: {what}" + (f"\n{last}" if last else ""),
            where=str(run.log_path),
            hint=f"workbench runs resume {run.name} goes on from the last checkpoint",
        )
    error = status.error
    return RunFailure(
        error.get("title") or "Run",
        error.get("message") or "no reason was given",
        where=error.get("where") or str(run.path),
        hint=error.get("hint") or f"the worker's own words are in {run.log_path}",
    )


def log_end(run: Run, lines: int = 8) -> str:
    """The last lines of `train.log`, indented."""
    try:
        with run.log_path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  | {render.literal(line)}" for line in text.splitlines()[-lines:])
