"""`workbench doctor` on machines that have this and lack that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.cli.doctor import compiler, findings, hardware, home, packages, session, torch_probe
from workbench.cli.doctor.findings import Finding, examine

Capture = pytest.CaptureFixture[str]
FACTS = {
    "version": "2.15.0",
    "threads": 2,
    "cuda_build": "13.2",
    "cuda": [{"name": "H200", "memory": 150e9, "capability": [9, 0], "bf16": True}],
    "cuda_error": "",
    "mps": False,
    "bf16_cpu_speed": 0.5,
}


def found(rows: Iterable[tuple[str, str, str, str]]) -> dict[str, Finding]:
    return {row[0]: Finding("", *row) for row in rows}


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch and the compiler are examined in their own tests."""
    monkeypatch.setattr(torch_probe, "probe", lambda: (FACTS, ""))
    monkeypatch.setattr(compiler, "probe", lambda: (None, "not now"))


@pytest.mark.usefixtures("no_probe")
def test_doctor_as_json_has_every_section(capsys: Capture) -> None:
    code = main(["doctor", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert code == (0 if value["ok"] else 1)
    sections = {finding["section"] for finding in value["findings"]}
    assert sections == {"program", "home", "machine", "terminal", "session", "torch", "compiler", "optional"}
    assert all(finding["remedy"] for finding in value["findings"] if finding["level"] == "problem")


@pytest.mark.usefixtures("no_probe")
def test_what_is_required_and_missing_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["nothing-of-the-kind>=3", "numpy>=99"])
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "pip install 'nothing-of-the-kind>=3'" in out
    assert "is older than 99" in out
    assert err == "2 problems: nothing-of-the-kind, numpy\n"


@pytest.mark.usefixtures("no_probe")
def test_notes_alone_are_exit_code_0(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=1", "wandb>=1; extra == 'wandb'"])
    assert main(["doctor"]) == 0
    assert "  note     terminal" in capsys.readouterr().out


def test_a_check_that_breaks_keeps_no_other_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterable[tuple[str, str, str, str]]:
        raise OSError("no /proc here")

    monkeypatch.setattr(findings, "sections", lambda: [("a", broken), ("b", lambda: [findings.ok("x", "y")])])
    results = dict(examine())
    assert "no /proc here" in results["a"][0].text and results["b"][0].text == "y"


def test_requirements_are_read_from_the_metadata() -> None:
    assert packages.parse_requirement("torch>=2.9") == ("torch", "2.9")
    assert packages.parse_requirement("PyYAML") == ("PyYAML", "")
    assert packages.parse_requirement("wandb>=0.19; extra == 'wandb'") is None
    assert packages.numbers("2.15.0+cu132") == (2, 15)
    assert packages.numbers("2.9") < packages.numbers("2.15") and packages.numbers("3.0") == packages.numbers(
        "3"
    )
    assert {"Python", "workbench", "torch", "pydantic"} <= set(found(packages.required()))


def test_missing_extras_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    rows = found(packages.optional())
    assert rows["wandb"].remedy.endswith("pip install 'llm-workbench[wandb]'")
    assert rows["cleaning"].remedy.endswith("pip install 'llm-workbench[cleaning]'")
    assert rows["editor"].level == "note"
    monkeypatch.setenv("EDITOR", f"{sys.executable} -m something")
    assert found(packages.optional())["editor"].level == "ok"


@pytest.mark.parametrize("path", ["{tmp}/file/home", "/proc/workbench"])
def test_a_home_that_cannot_be_written(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WORKBENCH_HOME", path.format(tmp=tmp_path))
    assert found(home.check())["folder"].level == "problem"


def test_the_home_is_not_made_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "a" / "b"))
    assert found(home.check())["folder"].level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_network_file_systems_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    mounts = [("/", "ext4"), (str(tmp_path), "ext4"), (str(tmp_path), "nfs4"), ("/other", "xfs")]
    assert home.file_system_of(tmp_path / "x", mounts) == "nfs4"
    assert home.file_system_of(Path("/usr"), mounts) == "ext4"

    class Partition:
        mountpoint, fstype = "/", "nfs4"

    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [Partition])
    assert found(home.check())["file system"].level == "note"


def test_accelerates_own_configuration_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert found(home.check())["accelerate"].level == "ok"
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").touch()
    assert found(home.check())["accelerate"].level == "note"


def test_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.memory_limit(tmp_path) is None and hardware.cpu_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert hardware.memory_limit(tmp_path) is None and hardware.cpu_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert hardware.memory_limit(tmp_path) == 1e9 and hardware.cpu_limit(tmp_path) == 0.5
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    rows = found(hardware.check())
    assert rows["container memory"].text.startswith("limited to 1 GB")
    assert rows["container cores"].remedy == "set launch.num_threads=1 in recipes"


def test_logind_that_ends_processes_is_found(tmp_path: Path) -> None:
    assert not session.kills_user_processes(tmp_path)
    (tmp_path / "logind.conf").write_text("[Login]\n#KillUserProcesses=yes\n")
    assert not session.kills_user_processes(tmp_path)
    (tmp_path / "logind.conf.d").mkdir()
    (tmp_path / "logind.conf.d" / "10.conf").write_text("[Login]\nKillUserProcesses = yes\n")
    assert session.kills_user_processes(tmp_path)


def test_the_terminal_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    rows = found(session.terminal())
    assert rows["terminal"].text == "100×30, TERM=xterm-256color"
    assert {row.level for row in rows.values()} == {"ok"}
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("TERM", "screen")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TMUX", "/tmp/tmux")
    monkeypatch.setenv("SSH_CONNECTION", "x")
    rows = found(session.terminal())
    assert [rows[name].level for name in ("terminal", "colours", "characters")] == ["note"] * 3
    assert rows["inside"].text == "tmux" and "ssh -C" in rows["link"].text
    monkeypatch.setenv("TERM", "dumb")
    assert found(session.terminal())["terminal"].remedy == "export TERM=xterm-256color"


def test_what_torch_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_probe, "probe", lambda: (FACTS, ""))
    rows = found(torch_probe.check())
    assert rows["cuda:0"].text == "H200, 150 GB, compute capability 9.0, bf16"
    assert rows["bf16 on CPU"].text == "0.5 times the speed of fp32 in a matrix product: not worth it"
    monkeypatch.setattr(torch_probe, "probe", lambda: ({**FACTS, "cuda_error": "driver too old"}, ""))
    assert found(torch_probe.check())["cuda"].level == "problem"
    monkeypatch.setattr(torch_probe, "probe", lambda: ({**FACTS, "cuda": [], "cuda_build": None}, ""))
    monkeypatch.setattr(torch_probe, "_has_driver", lambda: True)
    assert "though there is an NVIDIA driver" in found(torch_probe.check())["device"].text


def test_a_torch_that_cannot_be_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (row,) = torch_probe.check()
    assert row[1] == "problem" and row[2] == "ImportError: libcudart.so: cannot open"


def test_a_probe_that_hangs_or_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("python", 120)

    assert torch_probe.probe("/nowhere/python")[1] == "/nowhere/python: No such file or directory"
    monkeypatch.setattr(subprocess, "run", slow)
    assert "longer than 120 s" in torch_probe.probe()[1]


def test_the_real_probe() -> None:
    facts, error = torch_probe.probe()
    assert error == "" and facts is not None
    assert set(facts) == set(FACTS)


def test_torch_is_not_imported_here() -> None:
    code = "import sys; from workbench.cli import main; main(['doctor']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bf16 on CPU" in done.stdout


def test_the_compiler_and_what_it_is_good_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tool(name: str, script: str) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    monkeypatch.delenv("WORKBENCH_NATIVE", raising=False)
    monkeypatch.setenv("CXX", tool("good", 'case "$1" in --version) echo "good 14.1";; esac'))
    rows = found(compiler.check())
    assert rows["compiler"].level == "ok" and rows["compiler"].text.endswith("good: good 14.1")
    assert rows["native decoding"].level == "ok"
    monkeypatch.setenv("WORKBENCH_NATIVE", "0")
    assert "off by WORKBENCH_NATIVE=0" in found(compiler.check())["native decoding"].text

    monkeypatch.delenv("WORKBENCH_NATIVE")
    monkeypatch.setenv("CXX", tool("old", "echo 'lanes.h:9: error: what is this?' >&2; exit 1"))
    rows = found(compiler.check())
    assert rows["native decoding"].level == "note"
    assert rows["native decoding"].text.endswith("the compiler says: lanes.h:9: error: what is this?")
    assert "g++ 12" in rows["native decoding"].remedy

    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    rows = found(compiler.check())
    assert rows["compiler"].level == rows["native decoding"].level == "note"
    assert "no C++ compiler" in rows["compiler"].text and "PyTorch" in rows["native decoding"].text


def test_examining_the_compiler_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    found(compiler.check())
    assert list(tmp_path.iterdir()) == []
