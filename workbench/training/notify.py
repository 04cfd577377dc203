"""Telling somebody: a command that is run, a webhook that is posted to. Neither can hold training up or end
it."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.recipe.stability_section import StabilitySection
    from workbench.store.events import RunEvent
    from workbench.store.runs import Run
    from workbench.store.status import Status

WAITING = 64
"""Messages that may wait; more would be a flood that nobody reads."""
SAID = 300
"""Characters of a failing command's own words that go to the log."""


class Notifier:
    """Sends messages from a thread of its own, one after the other."""

    def __init__(self, section: StabilitySection, run: Run) -> None:
        self.section, self.run = section, run
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._ended = False

    def send(self, message: dict[str, Any]) -> None:
        """Have a message sent, and return at once. Where too many wait, it is dropped, with a line in the
        log."""
        if not self.section.notifies:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            _say("too many notifications wait; one was dropped")

    def close(self) -> None:
        """Wait until all is sent, or as long as one message may take by both ways together."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            # So many have failed to get through that the rest is not worth waiting for.
            self._ended = True
        self._thread.join(2 * self.section.notify_timeout + 1)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None and not self._ended:
            try:
                send_now(self.section, message)
            except Exception as error:
                # Whatever it is, the next one may get through.
                _say(f"a notification could not be sent: {type(error).__name__}")


def of_event(run: Run, event: RunEvent) -> dict[str, Any]:
    """The message of an event: all of it, and one line of text that says it."""
    from workbench.store.events import line_of

    return {
        **_common(run, event.kind, event.severity, event.step),
        "text": f"{run.name}: {line_of(event)}",
        "event": event.as_dict(),
    }


def of_end(run: Run, status: Status) -> dict[str, Any]:
    """The message of a run that has ended, whatever way."""
    words = {"finished": "is finished", "stopped": "was stopped", "failed": "failed"}
    said = words.get(status.state, status.state)
    loss = "" if status.loss is None else f", loss {status.loss:.4f}"
    why = f": {status.message}" if status.message and status.state == "failed" else ""
    return {
        **_common(run, f"run_{status.state}", "alarm" if status.state == "failed" else "note", status.step),
        "text": f"{run.name} {said} at step {status.step:,}{loss}{why}",
        "state": status.state,
        "message": status.message,
        "error": status.error,
        "loss": status.loss,
        "eval_loss": status.eval_loss,
    }


def run_ended(run: Run, status: Status) -> None:
    """Tell of the end of a run, if its recipe asks for it; waits for the answer, and never raises."""
    try:
        section = run.recipe().stability
    except WorkbenchError:
        # That is what the run failed of, and it has been said.
        return
    try:
        if section.notifies:
            # In a thread that may be left behind: a server that drips a byte at a time is never too slow.
            teller = threading.Thread(target=send_now, args=(section, of_end(run, status)), daemon=True)
            teller.start()
            teller.join(2 * section.notify_timeout + 1)
    except Exception as error:
        # The run has ended as it has; nothing here may change that.
        _say(f"the end of the run could not be told: {type(error).__name__}: {error}")


def send_now(section: StabilitySection, message: dict[str, Any]) -> None:
    """Run the command and post to the webhook, each within its time; a failure is a line in the log."""
    try:
        body = orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        _say(f"a notification is no JSON: {error}")
        return
    if section.notify_command is not None:
        _run(section, section.notify_command, message, body)
    if section.notify_webhook is not None:
        _post(section.notify_webhook, body, section.notify_timeout)


def _common(run: Run, kind: str, severity: str, step: int) -> dict[str, Any]:
    return {
        "run": run.name,
        "folder": str(run.path),
        "host": socket.gethostname(),
        "kind": kind,
        "severity": severity,
        "step": step,
        "time": time.time(),
    }


def _run(section: StabilitySection, command: str, message: dict[str, Any], body: bytes) -> None:
    """Run a command with the message on standard input and in its environment."""
    given = {
        f"WORKBENCH_{name.upper()}": str(message[name]) for name in ("run", "folder", "kind", "severity")
    }
    given |= {
        "WORKBENCH_STEP": str(message["step"]),
        "WORKBENCH_TEXT": str(message["text"]).replace("\0", ""),
    }
    try:
        process = subprocess.Popen(
            command if section.notify_shell else shlex.split(command),
            shell=section.notify_shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **given},
            # A group of its own: what it starts is ended with it.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        _say(f"stability.notify_command could not be run: {error}")
        return
    try:
        _, said = process.communicate(body, section.notify_timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        _say(f"stability.notify_command took longer than {section.notify_timeout:g} s and was ended")
        return
    except OSError as error:
        _end(process)
        _say(f"stability.notify_command: {error}")
        return
    if process.returncode:
        words = " ".join(said.decode("utf-8", "replace").split())[:SAID]
        _say(f"stability.notify_command ended with {process.returncode}" + (f": {words}" if words else ""))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def _post(address: str, body: bytes, timeout: float) -> None:
    """POST JSON. Its address may hold a secret, so that only the host is ever named."""
    host = urlsplit(address).hostname
    request = urllib.request.Request(
        address, body, {"Content-Type": "application/json", "User-Agent": "workbench"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        _say(f"stability.notify_webhook: {host} answered {error.code}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        _say(f"stability.notify_webhook: {host} could not be reached: {reason}")
    except http.client.HTTPException as error:
        # Its words may hold the whole address.
        _say(f"stability.notify_webhook: {host} does not answer as HTTP: {type(error).__name__}")


def _say(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
