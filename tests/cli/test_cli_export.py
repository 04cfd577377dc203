"""`workbench export` from end to end: a process that has torch does it, and what it says is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from saved_models import save

from workbench.cli import main
from workbench.cli.export import text_of


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "tiny", "Llama", num_key_value_heads=2)
    to = tmp_path / "out"
    asked = ["export", str(tmp_path / "tiny"), "--format", "safetensors", "--to", str(to), "--dtype", "bf16"]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dtype"] == "bf16" and told["folder"] == str(to)
    sizes = {file["name"]: file["bytes"] for file in told["files"]}
    assert sizes["model.safetensors"] == (to / "model.safetensors").stat().st_size
    lines = text_of(told).splitlines()
    assert lines[0].startswith("tiny: ") and "LlamaForCausalLM, bf16" in lines[0]
    assert all(f"{size:,}" in "".join(lines[1:]) for size in sizes.values())


def test_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["export", "x", "--format", "onnx", "--to", str(tmp_path)]) == 2
    assert "invalid choice" in capsys.readouterr().err

    def refuse(*arguments: Any, **options: Any) -> Any:
        from workbench.errors import RunError

        raise RunError("there is no run called “x”", hint="workbench runs list")

    monkeypatch.setattr("workbench.store.inspector.Inspector.request", refuse)
    assert main(["export", "x", "--format", "gguf", "--to", str(tmp_path / "out")]) == 1
    assert "there is no run called" in capsys.readouterr().err
