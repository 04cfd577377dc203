"""Compiling CUDA kernels and keeping them, without a GPU: no NVRTC, damaged files, two processes at once."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ptx_machine
import ptx_memory
import ptx_program
import pytest
import torch

from workbench.ops.cuda import cache, selected_logprobs, shared_prefix_params, soft_prompt
from workbench.ops.cuda import compile as compiler
from workbench.ops.cuda.kernel import Kernel, KernelError, Launch, sources

REDUCE = Kernel(
    "shared_prefix_backward_reduce.cu", "shared_prefix_backward_reduce", ("-DHEAD=64", "-DDTYPE_BF16")
)
STRUCTURES = {
    "shared_prefix_params.h": {
        "SharedPrefixForwardParams": shared_prefix_params.ForwardParams,
        "SharedPrefixDecodeParams": shared_prefix_params.DecodeParams,
        "SharedPrefixBackwardParams": shared_prefix_params.BackwardParams,
        "SharedPrefixInputs": shared_prefix_params.InputParams,
    },
    "soft_prompt_embedding_params.h": {
        "SoftPromptEmbeddingParams": soft_prompt.EmbeddingParams,
        "SoftPromptEmbeddingBackwardParams": soft_prompt.EmbeddingBackwardParams,
    },
    "selected_logprobs_params.h": {
        "SelectedLogprobsInputs": selected_logprobs.InputParams,
        "SelectedLogprobsParams": selected_logprobs.ForwardParams,
        "SelectedLogprobsBackwardParams": selected_logprobs.BackwardParams,
    },
}


@pytest.fixture(autouse=True)
def own_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WORKBENCH_HOME", str(home))
    cache._say_once.cache_clear()
    compiler._nvrtc.cache_clear()
    yield cache.folder()
    compiler._nvrtc.cache_clear()


@pytest.mark.parametrize("header", STRUCTURES)
def test_structures_are_laid_out_as_the_compiler_has_them(header: str) -> None:
    """A kernel writes sizes and offsets as NVRTC has them, in the interpreter."""
    for name, structure in STRUCTURES[header].items():
        fields = [field[0] for field in structure._fields_]
        parts = [f"sizeof({name})", *(f"(unsigned long long)&(({name}*)0)->{field}" for field in fields)]
        stores = " ".join(f"out[{number}] = {part};" for number, part in enumerate(parts))
        text = f'#include "{header}"\n__global__ void layout(unsigned long long* out) {{ {stores} }}\n'
        binary = compiler.compile_text(text, "layout", ptx_machine.TARGET, headers=sources(header))
        found = torch.zeros(len(parts), dtype=torch.int64)
        memory = ptx_memory.GlobalMemory([found])
        launch = Launch(REDUCE, (1, 1, 1), (1, 1, 1), 0, (found.data_ptr().to_bytes(8, "little"),))
        program = ptx_program.read(binary.code.rstrip(b"\0").decode(), binary.symbol)
        ptx_machine.Machine(program, launch, memory).run()
        memory.write_back()
        expected = [ctypes.sizeof(structure), *(getattr(structure, field).offset for field in fields)]
        assert found.tolist() == expected, name


def test_the_architecture_of_a_card() -> None:
    known = [75, 80, 86, 89, 90, 100, 120]
    assert compiler.architecture((9, 0), known) == "sm_90"
    assert compiler.architecture((8, 7), known) == "sm_86"
    assert compiler.architecture((13, 0), known) == "compute_120"
    assert compiler.architecture((11, 0), known) == "compute_100"
    with pytest.raises(KernelError, match="8.0, the card has 7.5"):
        compiler.architecture((7, 5), known)


def test_a_kernel_is_compiled_once_and_kept(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.compiled(REDUCE, "sm_90")
    assert first.code[:4] == b"\x7fELF" and first.symbol == REDUCE.name and not first.is_ptx
    assert own_cache.stat().st_mode & 0o777 == 0o700
    (file,) = own_cache.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(compiler, "compile_kernel", lambda *_: pytest.fail("compiled again"))
    assert cache.compiled(REDUCE, "sm_90") == first


def test_a_key_names_all_that_code_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {cache.key(REDUCE, "sm_80"), cache.key(REDUCE, "sm_90")}
    keys.add(cache.key(REDUCE._replace(options=("-DHEAD=96", "-DDTYPE_BF16")), "sm_80"))
    monkeypatch.setattr(compiler, "version", lambda: "99.0")
    keys.add(cache.key(REDUCE, "sm_80"))
    monkeypatch.setattr(cache, "sources", lambda _: {"a.cu": "changed"})
    keys.add(cache.key(REDUCE, "sm_80"))
    assert len(keys) == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_file_is_made_again(
    own_cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    binary = compiler.Binary(b"\x7fELF" + bytes(100), "kernel", False)
    monkeypatch.setattr(compiler, "compile_kernel", lambda *_: binary)
    cache.compiled(REDUCE, "sm_90")
    (file,) = own_cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {"cut": whole[:-7], "flipped": whole[:-1] + b"\1", "empty": b"", "foreign": b"\x7fELF"}[damage]
    )
    with caplog.at_level(logging.WARNING):
        assert cache.compiled(REDUCE, "sm_90") == binary
    assert "is damaged" in caplog.text and file.read_bytes() == whole


def test_a_full_disk_keeps_nothing_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    binary = compiler.Binary(b"code", "kernel", False)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiler, "compile_kernel", lambda *_: binary)
    monkeypatch.setattr("tempfile.mkstemp", full)
    with caplog.at_level(logging.WARNING):
        assert [cache.compiled(REDUCE, "sm_90") for _ in range(2)] == [binary] * 2
    assert len(caplog.records) == 1 and "No space left" in caplog.text


def test_no_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: Any = sys.modules
    monkeypatch.setitem(modules, "cuda.bindings", None)
    with pytest.raises(KernelError, match="NVRTC cannot be loaded"):
        compiler.version()


def test_what_does_not_compile_is_told_with_the_first_lines_of_the_log() -> None:
    with pytest.raises(KernelError, match=r"NVRTC failed for kernel: wrong.cu\(1\): error: ") as caught:
        compiler.compile_text("__global__ void kernel() { int x = ; }", "kernel", "sm_80", name="wrong.cu")
    assert caught.value.where == "wrong.cu"
    with pytest.raises(KernelError, match="lacks a kernel"):
        sources("nothing.cu")


def _compile_one(_: int) -> int:
    return len(cache.compiled(REDUCE, "sm_80").code)


def test_two_processes_at_once(own_cache: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        sizes = pool.map(_compile_one, range(2))
    assert sizes[0] == sizes[1] > 0
    assert len(list(own_cache.iterdir())) == 1
    assert cache._read(next(own_cache.iterdir())) is not None
