"""`workbench doctor --kernels`: the operators' paths on this machine, their errors and their speed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from workbench.cli import render
from workbench.cli.doctor.findings import note, ok, problem
from workbench.probe import probe as ask

PROBE_SECONDS = 600
PROBE = """
import json
from workbench.ops.examination import examine

print("\\n" + json.dumps(examine()))
"""
REPORT = "please report it with the output of: workbench doctor --kernels --json"

Row = tuple[str, str, str, str]


def check() -> Iterator[Row]:
    """Compilers, the choice for typical shapes, errors against fp64, times against PEFT's way."""
    facts, error = probe()
    if facts is None:
        yield problem("kernels", f"could not be examined: {error}", REPORT)
        return
    yield from rows(facts)


def rows(facts: dict[str, Any]) -> Iterator[Row]:
    """The findings in what the examination found."""
    tools = facts["tools"]
    yield ok("device", facts["device"])
    for name, what in (("compiler", "for kernels on the CPU"), ("nvrtc", "for kernels on GPUs")):
        text = tools[name]
        missing = text.startswith("none")
        yield note(name, f"{text}; {what}") if missing else ok(name, f"{text}, {what}")
    kept = f"{tools['cached_kernels']} compiled kernels, {render.size(tools['cache_bytes'])}"
    yield ok("cache", f"{tools['cache']}: {kept}")
    for one in facts["explained"]:
        shape = " ".join(f"{letter}{size}" for letter, size in one["shapes"].items())
        yield ok(one["operator"], f"{one['dtype']} {shape}: {one['path']}: {one['reason']}")
    for one in facts["errors"]:
        name = f"{one['path']} {one['dtype']}"
        yield ok(name, one["text"]) if one["ok"] else problem(name, one["text"], REPORT)
    for one in facts["times"]:
        shape = " ".join(f"{letter}{size}" for letter, size in one["shape"].items())
        spent = one["milliseconds"]
        ratios = ", ".join(
            f"{spent[other] / spent['operator']:.2f} times as fast as {words}"
            for other, words in (("concatenated", "PyTorch's attention over a copy"), ("peft", "PEFT's way"))
        )
        yield ok(one["what"], f"{one['dtype']} {shape}: {spent['operator']:.2f} ms ({one['path']}), {ratios}")


def probe(executable: str = sys.executable) -> tuple[dict[str, Any] | None, str]:
    """Facts from a process that imports torch, or None and why not."""
    return ask(executable, PROBE, PROBE_SECONDS)
