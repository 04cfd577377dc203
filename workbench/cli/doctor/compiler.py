"""The C++ compiler, and whether it takes the native decoder; asked in a process that may import operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from workbench.cli.doctor.findings import note, ok
from workbench.probe import probe as ask

PROBE_SECONDS = 60
FALLBACK = "PyTorch decodes on the CPU, several times slower"
REMEDY = "install g++ 12 or newer, or clang++; or name one in CXX"

# What compiling would find, without doing it: that takes 10 s and leaves files behind.
PROBE = """
import json, os, subprocess
from workbench.ops import native
from workbench.paths import resources

facts = {"off": os.environ.get(native.SWITCH) == "0", "command": "", "version": "", "error": ""}
try:
    command = native.compiler()
except native.NativeCodeError as error:
    facts["error"] = error.message
else:
    facts["command"] = command[0]
    facts["version"] = next(iter(native.compiler_version(command[0]).splitlines()), "")
    source = str(resources("kernels") / "decode.cpp")
    for tuned in (native.THIS_PROCESSOR, ()):
        done = subprocess.run(
            [*command, *native.COMPILE, *tuned, "-fsyntax-only", source],
            capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            break
    else:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        facts["error"] = next((line for line in lines if "error" in line), lines[0]).strip()
print("\\n" + json.dumps(facts))
"""

Row = tuple[str, str, str, str]


def check() -> Iterator[Row]:
    """The compiler there is, and by what Llama-shaped models are decoded on the CPU."""
    facts, error = probe()
    if facts is None:
        yield note("native decoding", f"could not be examined: {error}")
        return
    if facts["command"]:
        yield ok("compiler", ": ".join(part for part in (facts["command"], facts["version"]) if part))
    else:
        yield note("compiler", facts["error"], REMEDY)
    if facts["off"]:
        yield note("native decoding", f"off by WORKBENCH_NATIVE=0: {FALLBACK}", "unset it")
    elif not facts["command"]:
        yield note("native decoding", f"off, for there is no compiler: {FALLBACK}", REMEDY)
    elif facts["error"]:
        yield note("native decoding", f"off: {FALLBACK}; the compiler says: {facts['error']}", REMEDY)
    else:
        yield ok("native decoding", "on for Llama-shaped models on the CPU; compiled at first use, some 10 s")


def probe(executable: str = sys.executable) -> tuple[dict[str, Any] | None, str]:
    """Facts from a process that looks for the compiler, or None and why there are none."""
    return ask(executable, PROBE, PROBE_SECONDS)
