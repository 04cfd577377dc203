"""Telling of events: what a command and a server get, and that neither can do harm."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_run import MakeRun

from workbench.errors import RecipeError
from workbench.recipe.stability_section import StabilitySection
from workbench.store.events import RunEvent
from workbench.store.runs import Run
from workbench.store.status import Status
from workbench.training import reporter, session, worker
from workbench.training.notify import Notifier, of_event, run_ended, send_now
from workbench.training.reporter import Reporter
from workbench.training.stop import Stopped

EVENT = RunEvent(7, "loss_spike", action="rolled_back", happened="It rose.", to_step=4, time=1.0)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what was posted to it; paths that begin with /no answer 500."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response(500 if self.path.startswith("/no") else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Nothing on standard error."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", got
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_command_gets_the_event_without_a_shell(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    script = tmp_path / "tell.sh"
    script.write_text('#!/bin/sh\necho "$WORKBENCH_KIND $WORKBENCH_STEP $1" > "$2"\ncat >> "$2"\n')
    script.chmod(0o755)
    out = tmp_path / "out file"
    section = StabilitySection(notify_command=f"{script} '$HOME; `id`' '{out}'")
    notifier = Notifier(section, run)
    notifier.send(of_event(run, EVENT))
    notifier.close()
    first, body = out.read_text().split("\n", 1)
    assert first == "loss_spike 7 $HOME; `id`"
    message = json.loads(body)
    assert message["event"]["happened"] == "It rose." and message["run"] == run.name
    assert message["text"] == f"{run.name}: step 7: loss spike, rolled back to step 4. It rose."
    with_shell = StabilitySection(notify_command=f"echo $WORKBENCH_SEVERITY > '{out}'", notify_shell=True)
    send_now(with_shell, of_event(run, EVENT))
    assert out.read_text() == "alarm\n"


def test_what_fails_or_hangs_is_a_line_in_the_log(
    server: tuple[str, list[dict[str, Any]]],
    make_run: MakeRun,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run, (address, _) = make_run(), server
    late = tmp_path / "late"
    cases = {
        "sh -c 'echo no such luck >&2; exit 3'": "ended with 3: no such luck",
        "/nowhere/at/all": "could not be run",
        # What it starts is ended with it.
        f"sh -c 'sh -c \"sleep 3; touch {late}\" & wait'": "took longer than 0.2 s",
    }
    for command, words in cases.items():
        send_now(StabilitySection(notify_command=command, notify_timeout=0.2), of_event(run, EVENT))
        assert words in capfd.readouterr().err
    for hook, words in (
        (f"{address}/no?token=secret", "127.0.0.1 answered 500"),
        ("http://127.0.0.1:9/secret", "127.0.0.1 could not be reached"),
    ):
        send_now(StabilitySection(notify_webhook=hook, notify_timeout=2), of_event(run, EVENT))
        said = capfd.readouterr().err
        assert words in said and "secret" not in said
    # Something that is no web server.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def greet() -> None:
            with listening.accept()[0] as caller:
                caller.recv(1 << 16)
                caller.sendall(b"SSH-2.0-x\r\n")

        answer = threading.Thread(target=greet)
        answer.start()
        send_now(
            StabilitySection(notify_webhook=f"http://127.0.0.1:{port}/secret", notify_timeout=2),
            of_event(run, EVENT),
        )
        answer.join()
    said = capfd.readouterr().err
    assert "127.0.0.1 " in said and "secret" not in said and "Traceback" not in said
    # Sending never waits: not even for many that hang.
    notifier = Notifier(StabilitySection(notify_command="sleep 60", notify_timeout=0.05), run)
    began = time.monotonic()
    for _ in range(100):
        notifier.send(of_event(run, EVENT))
    assert time.monotonic() - began < 5
    notifier.close()
    assert "was dropped" in capfd.readouterr().err
    assert not late.exists()


def test_the_end_of_a_run_is_told(
    server: tuple[str, list[dict[str, Any]]], make_run: MakeRun, capfd: pytest.CaptureFixture[str]
) -> None:
    address, got = server
    run: Run = make_run(stability__notify_webhook=f"{address}/hook")
    status = run.status()
    status.state, status.message, status.step = "failed", "out of memory", 12
    run_ended(run, status)
    [message] = got
    assert message["type"] == "application/json" and message["kind"] == "run_failed"
    assert message["text"] == f"{run.name} failed at step 12: out of memory"
    run_ended(make_run(), status)
    run.recipe_path.write_text("stability: [")
    run_ended(run, status)
    assert len(got) == 1 and "warning" not in capfd.readouterr().err


@pytest.mark.parametrize(("step", "words"), [(0, "stopped before the first step"), (5, "stopped on request")])
def test_a_run_is_let_go_of_before_its_end_is_told(
    step: int, words: str, make_run: MakeRun, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = make_run(), list[str]()

    def tell(run: Run, status: Status) -> None:
        # Whoever goes on with the run need not wait for those who are told.
        worker.lock_run(run).close()
        told.append(status.message)

    def train(run: Run, recipe: Any, reporter: Reporter, stop: Any) -> bool:
        reporter.update(step=step)
        raise Stopped

    monkeypatch.setattr(worker, "LOCK_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(reporter, "run_ended", tell)
    monkeypatch.setattr(session, "train", train)
    assert work(run) == 0 and told == [words] and run.status().message == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"notify_command": "echo 'open"}, "cannot be split into words"),
        ({"notify_command": "  "}, "notify_command is empty"),
        ({"notify_webhook": "ftp://example.org"}, "is an address such as"),
        ({"notify_webhook": "http://[::1"}, "is an address such as"),
        ({"notify_webhook": "https://example.org/a b"}, "is an address such as"),
        ({"guard_window": 4}, "guard_window"),
        ({"guard": "panic"}, "guard"),
        ({"guard": "warn", "objective": "ppo"}, r"ppo has no stability\.guard: it has guards of its own"),
        ({"max_rollbacks": 3, "objective": "ppo"}, r"ppo has no stability\.max_rollbacks"),
    ],
)
def test_bad_settings_are_named(given: dict[str, Any], words: str, make_run: MakeRun) -> None:
    settings = {f"stability__{name}": value for name, value in given.items() if name != "objective"}
    with pytest.raises(RecipeError, match=words):
        make_run(**settings, objective__name=given.get("objective", "clm"))
