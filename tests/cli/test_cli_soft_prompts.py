"""`workbench ask --soft-prompt`: by name, by folder, and what is none."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from saved_soft_prompts import write
from served import service, serving

from workbench.cli import main, models_of

OPTIONS = ["--temperature", "0", "--max-tokens", "60"]


def test_ask_with_a_soft_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b""), "utf-8"))
    folder = write(tmp_path / "mine" / "final", tmp_path)
    with serving(service(), tmp_path) as socket:

        def ask(*options: str) -> str:
            assert main(["ask", "-m", str(socket), "Hello", *OPTIONS, *options]) == 0
            return str(capsys.readouterr().out)

        plain, soft = ask(), ask("--soft-prompt", str(folder))
        assert plain != soft
        assert ask("--soft-prompt", "mine") == soft, "the engine knows it by its run's name now"
        assert ask() == plain, "the model is found although it is there twice"
        assert main(["ask", "-m", str(socket), "Hello", "--soft-prompt", "mines"]) == 1
        said = capsys.readouterr().err
        assert "no soft prompt “mines”" in said and "did you mean mine?" in said and "/v1" not in said
        assert main(["ask", "-m", str(socket), "Hello", "--soft-prompt", f"{tmp_path}/nowhere"]) == 1
        assert "no soft prompt in this folder" in capsys.readouterr().err


def test_evaluations_tell_soft_prompts_apart(tmp_path: Path) -> None:
    plain = models_of.Found(models_of.HERE, "/models/tiny")
    folders = [write(tmp_path / name, tmp_path) for name in ("a", "b")]
    soft = [models_of.Found(models_of.HERE, "/models/tiny", soft_prompt=str(folder)) for folder in folders]
    known = [found.identity() for found in (plain, *soft)]
    assert len({str(one) for one in known}) == 3 and "soft_prompt" not in known[0]
