"""Compiling at first use: where the result lies, what happens when it cannot be had."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import decoders
import pytest
import torch

from workbench.ops import decode_native, native
from workbench.ops.decode import Row, choose, decode_step

SOURCE = 'extern "C" int answer() { return ANSWER; }\n'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of kernels with `small.cpp`, and an empty home to compile it to."""
    folder = tmp_path / "kernels"
    (folder / "cpu").mkdir(parents=True)
    (folder / "small.cpp").write_text('#include "cpu/answer.h"\n' + SOURCE)
    (folder / "cpu" / "answer.h").write_text("#define ANSWER 42\n")
    monkeypatch.setattr(native, "resources", lambda name: folder)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(native.FLAGS, raising=False)
    return folder


@pytest.fixture(autouse=True)
def no_memory_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries are kept for the life of a process; a test starts without."""
    monkeypatch.setattr(native, "load_library", native.load_library.__wrapped__)
    monkeypatch.setattr(decode_native, "load_library", native.load_library)


def test_a_library_is_compiled_once_and_belongs_to_its_owner(sources: Path) -> None:
    assert native.load_library("small").answer() == 42
    library = native.build("small")
    made = library.stat().st_mtime_ns
    assert native.build("small") == library and library.stat().st_mtime_ns == made
    assert list(library.parent.iterdir()) == [library]
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700


def test_what_the_library_is_made_of_names_it(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = native.build("small")
    assert native.build("small", ("-DOTHER",)) != first
    (sources / "cpu" / "answer.h").write_text("#define ANSWER 43\n")
    assert native.load_library("small").answer() == 43
    monkeypatch.setattr(native, "processor", lambda: "another one")
    assert native.build("small") not in (first, native.build("small", ("-DOTHER",)))


def test_a_source_that_does_not_compile_gives_the_compilers_reason(sources: Path) -> None:
    (sources / "cpu" / "answer.h").write_text("#error out of answers\n")
    with pytest.raises(native.NativeCodeError, match="out of answers"):
        native.load_library("small")
    assert list((sources.parent / "home/cache/native").iterdir()) == []


def test_a_damaged_library_is_refused_with_its_name(sources: Path) -> None:
    library = native.build("small")
    library.write_bytes(b"nothing")
    with pytest.raises(native.NativeCodeError, match=library.name):
        native.load_library("small")


def test_a_home_that_cannot_be_written_is_a_reason(sources: Path) -> None:
    (sources.parent / "home").write_text("a file")
    with pytest.raises(native.NativeCodeError, match="cannot be kept"):
        native.load_library("small")


def test_two_processes_may_compile_at_once(sources: Path) -> None:
    program = (
        "import sys, pathlib; from workbench.ops import native;"
        "native.resources = lambda name: pathlib.Path(sys.argv[1]);"
        "sys.exit(native.load_library('small').answer() - 42)"
    )
    command = [sys.executable, "-c", program, str(sources)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert len(list((sources.parent / "home/cache/native").iterdir())) == 1


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("WORKBENCH_NATIVE", "0", "turned off"),
        ("CXX", "no-such-compiler", "no C\\+\\+ compiler: no-such-compiler not found"),
        ("CXX", "false", "failed"),
    ],
)
def test_without_native_code_the_definition_serves(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv(variable, value)
    weights = decoders.weights_of(decoders.tiny_decoder())
    choice = choose(weights)
    assert not choice.native
    with pytest.raises(native.NativeCodeError, match=reason) as raised:
        native.load_library("decode")
    assert choice.reason == raised.value.message
    logits = decode_step(weights, torch.tensor([3]), [Row([decoders.segment(weights, 1)])])
    assert logits.shape == (1, 1003)


def test_a_compiler_that_does_not_know_this_processor_serves(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "old-compiler"
    script.write_text(
        '#!/bin/sh\nfor argument; do [ "$argument" = -march=native ] && exit 1; done\nexec c++ "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert native.load_library("small").answer() == 42


def test_flags_can_be_added(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "cpu" / "answer.h").write_text("")
    monkeypatch.setenv(native.FLAGS, "-DANSWER=7 -DWITH='a b'")
    assert native.load_library("small").answer() == 7


def test_the_processor_is_described() -> None:
    assert os.uname().machine in native.processor() and len(native.processor()) > 20
