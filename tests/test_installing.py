"""The command that installs a package: it must reach the environment that asked, activated or not."""

import importlib.util
import sys
from pathlib import Path

import pytest

from workbench.installing import pip_install, pip_install_extra


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of programs of an environment that this interpreter seems to run in; it is not on PATH."""
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    return folder


def with_pip(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pip").write_text("#!/bin/sh\n")
    (folder / "pip").chmod(0o755)


def test_an_activated_environment_has_its_pip_on_the_path(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_pip(environment)
    monkeypatch.setenv("PATH", str(environment))
    assert pip_install("--upgrade", "torch>=2.9") == "pip install --upgrade 'torch>=2.9'"
    assert pip_install_extra("cleaning") == "pip install 'llm-workbench[cleaning]'"


def test_the_pip_of_another_environment_is_not_named(environment: Path, tmp_path: Path) -> None:
    with_pip(tmp_path / "elsewhere")
    assert pip_install("gguf") == f"'{environment}/python' -m pip install gguf"


def test_an_environment_without_pip_is_told_by_uv(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert pip_install("gguf") == f"uv pip install --python '{environment}/python' gguf"
