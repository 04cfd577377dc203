"""The client of the process that inspects: answers, errors of the same class, ends of all kinds."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench.errors import DataError, RecipeError, UsageError, WorkbenchError
from workbench.store.inspector import Inspector, RequestCancelled, error_of


@pytest.fixture
def inspector(home: Path) -> Iterator[Inspector]:
    with Inspector() as client:
        yield client


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(30)))
    return str(path)


def child_of(inspector: Inspector) -> psutil.Process:
    assert inspector._child is not None
    return psutil.Process(inspector._child.process.pid)


def endless(tmp_path: Path) -> str:
    """A source that is never read to its end: a pipe that nobody writes to."""
    import os

    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    return str(path)


def test_answers_come_soon_and_from_one_child(inspector: Inspector, source: str) -> None:
    assert inspector._child is None, "nothing is started before something is asked"
    began = time.monotonic()
    assert len(inspector.request("records", source=source, count=5)["records"]) == 5
    assert time.monotonic() - began < 5
    first = child_of(inspector)
    assert inspector.request("sources", data={"sources": [source]})["sources"][0]["records"] == 30
    assert child_of(inspector) == first


def test_errors_come_back_as_what_they_were(inspector: Inspector, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        inspector.request("records", source=str(tmp_path / "no.csv"))
    assert "does not exist" in caught.value.message and caught.value.where and caught.value.hint
    with pytest.raises(RecipeError) as misused:
        inspector.request("sources", data={"sorces": []})
    assert misused.value.exit_code == 2
    with pytest.raises(UsageError, match="no request"):
        inspector.request("nothing")


def test_unexpected_errors_leave_their_traceback_in_the_log(inspector: Inspector, source: str) -> None:
    with pytest.raises(WorkbenchError, match="unexpected TypeError"):
        inspector.request("records", source=source, colour="red")
    deadline = time.monotonic() + 5
    while "Traceback" not in inspector.log and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "Traceback" in inspector.log
    assert inspector.request("records", source=source, count=1)["records"], "it goes on"


def test_an_error_of_an_unknown_class_is_a_workbench_error() -> None:
    content = {"class": "annotations", "title": "Odd", "message": "m", "where": "w", "hint": "h"}
    error = error_of(content)
    assert type(error) is WorkbenchError and error.as_dict() == {k: content[k] for k in error.as_dict()}


def test_progress_is_heard(inspector: Inspector, tmp_path: Path) -> None:
    from tiny_run import mapping, text_of

    (tmp_path / "text.txt").write_text(text_of(1, 3000))
    heard: list[tuple[str, int, int | None]] = []
    recipe = mapping(tmp_path / "text.txt")
    inspector.request("tokens", recipe=recipe, text="the cat", progress=lambda *told: heard.append(told))
    assert any(what == "training the tokenizer" and done > 0 for what, done, _ in heard)


def test_a_child_that_dies_says_its_last_words(inspector: Inspector, tmp_path: Path, source: str) -> None:
    pipe = endless(tmp_path)
    inspector.request("records", source=source)
    assert inspector._child is not None
    inspector._child.lines.append("the last thing it said")
    threading.Timer(0.3, child_of(inspector).kill).start()
    with pytest.raises(WorkbenchError) as caught:
        inspector.request("records", source=pipe)
    assert "signal 9" in caught.value.message and "the last thing it said" in caught.value.where
    assert inspector.request("records", source=source)["records"], "the next request starts another"


def test_a_request_is_cancelled_from_another_thread(
    inspector: Inspector, tmp_path: Path, source: str
) -> None:
    pipe = endless(tmp_path)
    inspector.request("records", source=source)
    old = child_of(inspector)
    for end in (inspector.cancel, inspector.close):
        threading.Timer(0.3, end).start()
        with pytest.raises(RequestCancelled):
            inspector.request("records", source=pipe)
        assert inspector.request("records", source=source)["records"]
    assert not old.is_running()
    inspector.cancel()
    assert inspector.request("records", source=source)["records"], "nothing was asked, nothing was ended"


def test_a_callback_that_raises_ends_the_child(inspector: Inspector, tmp_path: Path) -> None:
    from tiny_run import mapping, text_of

    (tmp_path / "text.txt").write_text(text_of(1, 3000))

    def leave(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspector.request("tokens", recipe=mapping(tmp_path / "text.txt"), text="a", progress=leave)
    assert inspector._child is not None and inspector._child.is_over


def test_closing_leaves_no_process(source: str) -> None:
    with Inspector() as inspector:
        inspector.request("records", source=source)
        child = child_of(inspector)
    assert not child.is_running()
    inspector.close()


def test_the_child_ends_when_its_input_does(source: str) -> None:
    request = json.dumps({"do": "records", "arguments": {"source": source, "count": 1}}).encode()
    done = subprocess.run(
        [sys.executable, "-m", "workbench.inspection"], input=request + b"\n", capture_output=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == b""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["result"]["records"][0]["values"] == {"text": "text 0"}


def test_looking_at_text_needs_no_torch(source: str, tmp_path: Path, home: Path) -> None:
    from tiny_run import mapping, text_of

    (tmp_path / "text.txt").write_text(text_of(1, 3000))
    recipe: dict[str, Any] = mapping(tmp_path / "text.txt")
    code = (
        "import json, sys\n"
        "from workbench.inspection.requests import answer\n"
        "source, recipe = sys.argv[1], json.loads(sys.argv[2])\n"
        "hear = lambda what, done, total: None\n"
        "answer('sources', {'data': {'sources': [source]}}, hear)\n"
        "answer('search', {'source': source, 'text': 'text 7'}, hear)\n"
        "answer('tokens', {'recipe': recipe, 'text': 'the cat'}, hear)\n"
        "answer('vocabulary', {'recipe': recipe}, hear)\n"
        "sys.exit(int('torch' in sys.modules or 'transformers' in sys.modules))\n"
    )
    arguments = [sys.executable, "-c", code, source, json.dumps(recipe)]
    assert subprocess.run(arguments, timeout=60).returncode == 0
