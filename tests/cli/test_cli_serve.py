"""`workbench serve` becomes the engine: no process stands between it and who ends it."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from workbench.cli import main


class Replaced(BaseException):
    """Stands for the new program, which never comes back."""


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What this process would have become."""
    calls: list[Any] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        calls.append((path, command, environment))
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    return calls


def test_a_port_has_a_key_that_no_command_line_shows(
    replaced: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORKBENCH_KEY", raising=False)
    with pytest.raises(Replaced):
        main(["serve", "some/model", "--port", "8000"])
    ((path, command, environment),) = replaced
    assert path == sys.executable
    assert command[:4] == [sys.executable, "-m", "workbench.inference", "some/model"]
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "8000"]
    assert capsys.readouterr().err == f"key: {environment['WORKBENCH_KEY']}\n"


def test_a_socket_needs_no_key(replaced: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_KEY", "secret")
    with pytest.raises(Replaced):
        main(["serve", "some/model", "--socket", "/tmp/some.sock"])
    ((_, command, environment),) = replaced
    assert command[-2:] == ["--socket", "/tmp/some.sock"]
    assert "WORKBENCH_KEY" not in environment


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_number_that_is_no_port(replaced: list[Any], port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "some/model", "--port", port]) == 2
    assert "is no port" in capsys.readouterr().err and not replaced
