"""Runs CUDA kernels on the CPU: their own source, built by a C++ compiler (see kernels/README.md)."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from torch import Tensor

from workbench.ops.native import NativeCodeError, compiler
from workbench.paths import resources

KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(')
RUNTIME = ("fibers", "block", "operations", "main")
FLAGS = ("-std=c++17", "-march=native", "-fno-strict-aliasing", "-w")
SANITIZED = ("-DWORKBENCH_TSAN",)
Three = tuple[int, int, int]


class Complaint(AssertionError):
    """The emulator's, or ThreadSanitizer's: what a kernel did that no kernel may."""


@dataclass(frozen=True)
class Schedule:
    """Order in which threads run (0 by number, 1 backwards, even: by warps from that seed, odd: by threads),
    and when asynchronous copies land: as late as the waits allow, at once, or each as a draw decides."""

    order: int
    landing: Literal["late", "early", "mixed"]


SCHEDULES = (Schedule(0, "late"), Schedule(1, "early"), Schedule(2, "late"), Schedule(3, "mixed"))


@dataclass(frozen=True)
class Launch:
    """What a driver is told: a kernel's name, blocks, threads a block, dynamic shared memory in bytes, and
    the structure it takes (or its bytes), whose pointers are the addresses of CPU tensors."""

    kernel: str
    grid: Three
    block: Three
    shared: int
    params: ctypes.Structure | bytes


@dataclass(frozen=True)
class Emulator:
    """A program of compiled kernels."""

    program: Path

    def run(
        self, launches: Sequence[Launch], tensors: Iterable[Tensor], schedule: Schedule = SCHEDULES[0]
    ) -> None:
        """The launches in their order on `tensors` (all that the parameters point into), changed in place.

        Raises `Complaint` where a kernel leaves its buffers, deadlocks, diverges in an operation of a warp,
        uses what it has not waited for, or (a sanitized program) races.
        """
        storages = list({t.data_ptr(): t.untyped_storage() for t in tensors}.values())
        places = [(s.data_ptr(), s.nbytes()) for s in storages]
        with tempfile.TemporaryDirectory(dir=self.program.parent) as folder:
            case, result = Path(folder) / "case", Path(folder) / "result"
            with case.open("wb") as file:
                file.write(_numbers(len(places)))
                for address, size in places:
                    file.write(_numbers(size) + ctypes.string_at(address, size))
                file.write(_numbers(len(launches)))
                for launch in launches:
                    file.write(_launch(launch, places))
            done = subprocess.run(
                [self.program, case, result, str(schedule.order), schedule.landing],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=300,
                env={**os.environ, "TSAN_OPTIONS": "exitcode=66 history_size=4"},
            )
            if done.returncode:
                raise Complaint(done.stderr[:2000] or f"the emulator ended with status {done.returncode}")
            contents = result.read_bytes()
        for address, size in places:
            ctypes.memmove(address, contents[:size], size)
            contents = contents[size:]


@dataclass(frozen=True)
class Builder:
    """Compiles kernels, each choice of sources and definitions once, into `folder`, which several test
    processes may share."""

    folder: Path

    def build(
        self,
        sources: Sequence[str | Path],
        definitions: Sequence[str],
        *,
        kernels: Path | None = None,
        sanitized: bool = False,
    ) -> Emulator:
        """A program of the kernels in `sources` (names in kernels/cuda, or paths) under macro definitions
        such as HEAD=64. `kernels` is a changed copy of the folder kernels/ to take them from."""
        root = kernels or resources("kernels")
        files = [path if isinstance(path, Path) else root / "cuda" / path for path in sources]
        names = [name for file in files for name in KERNEL.findall(file.read_text())]
        assert names, f"no kernel in {files}"
        text = '#include "../cuda/primitives.cuh"\n#include "../emulator/registry.h"\n'
        text += "".join(f'#include "{file.resolve()}"\n' for file in files)
        text += "".join(f"EMULATED({name})\n" for name in names)
        command = [*host_compiler(), *FLAGS, "-O1", *(f"-D{d}" for d in definitions), "-DWORKBENCH_EMULATOR"]
        if sanitized:
            command += [*SANITIZED, "-fsanitize=thread"]
        runtime = self.runtime(sanitized)
        inputs = [*sorted((root / "cuda").glob("*.*h")), *files, *runtime]
        program = self.folder / _digest([*command, text], inputs)
        with self._locked(program.name):
            if not program.exists():
                entry = self.folder / f"{program.name}.cpp"
                entry.write_text(text)
                command += [f"-I{root / 'cuda'}", str(entry), *map(str, runtime)]
                _compile(command, program)
        return Emulator(program)

    def runtime(self, sanitized: bool) -> list[Path]:
        """The emulator's own objects. Under ThreadSanitizer they are told of it, but not instrumented."""
        source = resources("kernels") / "emulator"
        flags = [*host_compiler(), *FLAGS, "-O2", *(SANITIZED if sanitized else ()), "-c"]
        known = _digest(flags, sorted(source.iterdir()))
        objects = [self.folder / f"{name}.{known}.o" for name in RUNTIME]
        with self._locked(known):
            for name, made in zip(RUNTIME, objects, strict=True):
                if not made.exists():
                    _compile([*flags, str(source / f"{name}.cpp")], made)
        return objects

    def _locked(self, name: str) -> _Lock:
        return _Lock(self.folder / f"{name}.lock")


class _Lock:
    """Held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.file = self.path.open("w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()


@cache
def host_compiler() -> tuple[str, ...]:
    """The machine's C++ compiler, else the one in the wheel `ziglang`."""
    try:
        return tuple(compiler())
    except NativeCodeError:
        # Without the last two zig traps on what it takes for undefined, and compiles for any processor.
        return (sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=undefined")


def _compile(command: Sequence[str], target: Path) -> None:
    made = target.with_suffix(".made")
    done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, errors="replace")
    assert not done.returncode, f"{shlex.join(command)}\n{done.stderr[:4000]}"
    made.rename(target)


def _digest(words: Iterable[str], files: Iterable[Path]) -> str:
    known = hashlib.sha256("\0".join(words).encode())
    for file in files:
        known.update(file.read_bytes())
    return known.hexdigest()[:24]


@cache
def has_thread_sanitizer(folder: Path) -> bool:
    """Whether programs can be built and run under ThreadSanitizer with fibers here."""
    source = folder / "probe.cpp"
    source.write_text(
        "#include <sanitizer/tsan_interface.h>\nint main() { return !__tsan_create_fiber(0); }\n"
    )
    probe = folder / "probe"
    command = [*host_compiler(), "-fsanitize=thread", str(source), "-o", str(probe)]
    if subprocess.run(command, capture_output=True).returncode:
        return False
    return not subprocess.run([probe], capture_output=True).returncode


def copied_kernels(folder: Path) -> Path:
    """A copy of kernels/ to plant a bug in."""
    return Path(shutil.copytree(resources("kernels"), folder / "kernels"))


def _launch(launch: Launch, places: list[tuple[int, int]]) -> bytes:
    """As the emulator reads it. A number inside one of the places is a pointer: no other is so large."""
    raw = bytes(launch.params)
    pointers = []
    for at in range(0, len(raw) - 7, 8):
        address = int.from_bytes(raw[at : at + 8], "little")
        for i, (start, size) in enumerate(places):
            if 0 <= address - start < size:
                pointers.append((at, i, address - start))
    numbers = _numbers(*launch.grid, *launch.block, launch.shared, len(raw))
    relocations = _numbers(len(pointers), *(n for pointer in pointers for n in pointer))
    return launch.kernel.encode().ljust(64, b"\0") + numbers + raw + relocations


def _numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)
