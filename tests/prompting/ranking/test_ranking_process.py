"""The detached generator: started once, killed and resumed, stopped, its session deleted under it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_server import ScriptedServer, listening

from workbench.prompting.ranking import status as files
from workbench.prompting.ranking.__main__ import alone, main
from workbench.prompting.ranking.control import (
    ensure_generating,
    generation_status,
    stop_generating,
    wait_until_over,
)
from workbench.prompting.ranking.create import Plan, create
from workbench.prompting.ranking.delete import delete
from workbench.prompting.ranking.sources import ModelSource
from workbench.store.preferences.contents import Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, Settings, counts, create_session, list_sessions


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database() as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    served = ScriptedServer(lambda body, index: "one two three", ("a",), seconds=0.05)
    with listening(served, tmp_path / "s"):
        yield served


@pytest.fixture
def session(database: Database, tmp_path: Path) -> Iterator[Session]:
    """Two answers to each of 30 questions, at a server that takes its time."""
    source = ModelSource("place", "a", str(tmp_path / "s"))
    prompts = [Prompt(f"question {number}") for number in range(30)]
    made = create(database, Plan("s", [source], samples=2), prompts)
    yield made
    stop_generating(made)
    wait_until_over(made, 10)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_and_resumed_without_a_word_and_only_once_at_a_time(
    database: Database, session: Session, server: ScriptedServer
) -> None:
    assert generation_status(session).state == "idle"
    assert ensure_generating(session).state == "starting"
    assert ensure_generating(session).is_active
    until(lambda: counts(database, session).answers)
    status = generation_status(session)
    assert status.process is not None and os.getsid(status.process.pid) == status.process.pid
    assert main([session.name]) == 0, "a second one has nothing to do"
    os.kill(status.process.pid, signal.SIGKILL)
    until(lambda: generation_status(session).state == "lost")
    before = counts(database, session).answers
    assert 0 < before < 60
    server.seconds = 0.0
    ensure_generating(session)
    over = wait_until_over(session, 20)
    assert (over.state, over.done, over.total, over.failures) == ("finished", 60, 60, 0)
    assert (counts(database, session).answers, counts(database, session).items) == (60, 30)
    assert ensure_generating(session).state == "finished", "nothing is started for nothing"


def test_stopped_and_left_alone_until_asked_for_again(
    database: Database, session: Session, server: ScriptedServer
) -> None:
    ensure_generating(session)
    until(lambda: counts(database, session).answers)
    assert stop_generating(session).state in ("stopping", "stopped")
    assert wait_until_over(session, 10).state == "stopped"
    assert ensure_generating(session).state == "stopped"
    assert ensure_generating(session, again=True).state == "starting"
    until(lambda: generation_status(session).state == "running")
    delete(database, session)
    assert list_sessions(database) == [] and not files.folder_of(session.name).exists()


def test_a_session_of_a_file_or_of_another_time_has_no_generator(
    database: Database, session: Session
) -> None:
    imported = create_session(database, "imported", Settings())
    assert ensure_generating(imported).state == "idle"
    with alone("s") as ours, alone("s") as second:
        assert ours and not second
    files.write_status("s", files.GenerationStatus("finished", session=(session.id, session.created + 1)))
    assert generation_status(session).state == "idle", "that was of a session that is gone"
