"""Compiles C++ sources for this very processor at first use, keeps the result, and loads it.

The library lies in the workbench's cache under a name made of sources, compiler and processor; it is
compiled under a name of its own and renamed, so that two processes may do it at once. Nothing is compiled
at install. `WORKBENCH_NATIVE=0` turns all native code off; `WORKBENCH_NATIVE_FLAGS` adds compiler flags.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.paths import cache_dir, resources

SWITCH = "WORKBENCH_NATIVE"
FLAGS = "WORKBENCH_NATIVE_FLAGS"
COMPILE = ("-std=c++17", "-O3", "-Wall", "-Wextra", "-fPIC", "-shared", "-pthread")
THIS_PROCESSOR = ("-march=native",)


class NativeCodeError(WorkbenchError):
    """Native code cannot be had on this machine. Its users fall back, and say why."""

    title = "Native code"


@cache
def load_library(name: str, *flags: str) -> ctypes.CDLL:
    """The library of `kernels/NAME.cpp` and the headers of `kernels/cpu`, or `NativeCodeError`."""
    if os.environ.get(SWITCH) == "0":
        raise NativeCodeError(f"turned off by {SWITCH}=0")
    if sys.platform not in ("linux", "darwin"):
        raise NativeCodeError(f"not written for {sys.platform}")
    try:
        path = build(name, (*flags, *shlex.split(os.environ.get(FLAGS, ""))))
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeCodeError(f"the compiled library cannot be kept or loaded: {error}") from None


def build(name: str, flags: tuple[str, ...] = ()) -> Path:
    """Compile `kernels/NAME.cpp` unless that was done before; the path of the library."""
    folder = resources("kernels")
    sources = [folder / f"{name}.cpp", *sorted((folder / "cpu").glob("*.h"))]
    command = [*compiler(), *COMPILE]
    known = hashlib.sha256()
    for part in (*command, *THIS_PROCESSOR, *flags, compiler_version(command[0]), processor()):
        known.update(part.encode() + b"\0")
    for source in sources:
        known.update(source.read_bytes())
    cached = cache_dir("native")
    library = cached / f"{known.hexdigest()[:32]}.so"
    cached.mkdir(parents=True, exist_ok=True)
    cached.chmod(0o700)
    if cached.stat().st_uid != os.getuid():
        raise NativeCodeError(f"{cached} belongs to somebody else")
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=cached) as temporary:
        made = Path(temporary) / library.name
        for tuned in (THIS_PROCESSOR, ()):  # some compilers cannot say it, and the sources run anywhere
            done = subprocess.run(
                [*command, *tuned, *flags, str(sources[0]), "-o", str(made)],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
            if done.returncode == 0:
                break
        else:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise NativeCodeError(f"{command[0]} failed: {first.strip()}")
        made.replace(library)
    return library


def compiler() -> list[str]:
    """The C++ compiler: `$CXX`, else the first found of c++, g++ and clang++."""
    chosen = shlex.split(os.environ.get("CXX", ""))
    for candidate in [chosen] if chosen else [["c++"], ["g++"], ["clang++"]]:
        if found := shutil.which(candidate[0]):
            return [found, *candidate[1:]]
    raise NativeCodeError(
        f"no C++ compiler: {shlex.join(chosen) or 'c++, g++, clang++'} not found",
        hint="install g++ or clang++, or name one in CXX",
    )


@cache
def compiler_version(executable: str) -> str:
    done = subprocess.run([executable, "--version"], capture_output=True, text=True, errors="replace")
    return done.stdout


def processor() -> str:
    """What `-march=native` depends on: the processor's model and features."""
    lines: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            lines.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "cpu family", "model", "flags", "Features", "CPU part")
    return platform.machine() + "".join(f"\n{key}: {lines[key]}" for key in wanted if key in lines)


@cache
def has_matrix_unit() -> bool:
    """Whether the processor has instructions for whole bf16 matrices (Intel's AMX)."""
    return "amx_bf16" in processor().split()
