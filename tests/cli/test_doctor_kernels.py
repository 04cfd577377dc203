"""`workbench doctor --kernels`, with what the examination found given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.cli import main
from workbench.cli.doctor import kernels

Capture = pytest.CaptureFixture[str]


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "device": "cpu",
        "tools": {
            "compiler": "/usr/bin/g++",
            "nvrtc": "13.0",
            "cache": "/c",
            "cached_kernels": 2,
            "cache_bytes": 10,
        },
        "explained": [
            {
                "operator": "selected_logprobs",
                "shapes": {"N": 3},
                "dtype": "float32",
                "path": "definition",
                "reason": "it is small",
            }
        ],
        "errors": [{"path": "composed", "dtype": "float32", "ok": True, "text": "largest error 1e-7"}],
        "times": [
            {
                "what": "training",
                "dtype": "float32",
                "shape": {"B": 8},
                "path": "composed",
                "milliseconds": {"operator": 2.0, "concatenated": 3.0, "peft": 5.0},
            }
        ],
        **changes,
    }


def found(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any] | None, error: str = "") -> None:
    monkeypatch.setattr(kernels, "probe", lambda: (facts, error))


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    found(monkeypatch, facts())
    assert main(["doctor", "--kernels"]) == 0
    out = capsys.readouterr().out
    assert "float32 N3: definition: it is small" in out
    assert "2.00 ms (composed), 1.50 times as fast as PyTorch's attention over a copy, 2.50 times" in out
    assert "log-out" not in out


def test_a_path_that_errs_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    wrong = {"path": "cuda", "dtype": "bfloat16", "ok": False, "text": "largest error 1.0"}
    found(monkeypatch, facts(errors=[wrong]))
    assert main(["doctor", "--kernels", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    (one,) = (finding for finding in value["findings"] if finding["level"] == "problem")
    assert one["name"] == "cuda bfloat16" and "report" in one["remedy"]


def test_no_nvrtc_and_no_compiler_are_notes(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    tools = {**facts()["tools"], "nvrtc": "none: NVRTC cannot be loaded", "compiler": "none: no C++ compiler"}
    found(monkeypatch, facts(tools=tools))
    assert main(["doctor", "--kernels"]) == 0
    assert capsys.readouterr().out.count("  note ") == 2


def test_an_examination_that_breaks(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    found(monkeypatch, None, "ImportError: no torch")
    assert main(["doctor", "--kernels"]) == 1
    assert "ImportError: no torch" in capsys.readouterr().out
