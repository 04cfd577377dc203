"""The process in which one untrusted program runs: reads it from standard input, answers in JSON.

It holds nothing but a Monty interpreter, which in turn runs the program in a process of its own. What
the program leaves behind is never turned into Python objects here, since `[[[1] * 1000] * 1000] * 1000`
is 24 kB there and 8 GB here: its last value comes as text, written and cut where the limits hold.
Started by path, so it imports nothing of this package.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic_monty import (
    Monty,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySyntaxError,
)

VALUE = "_"
FRAMES = 3
GRACE_SECONDS = 1.0
OWN_MEMORY = 128 * 1024 * 1024


def main() -> None:
    """Run the program of the request on standard input within its limits."""
    request = json.load(sys.stdin)
    # The process that asked may be gone, and nobody else ends this one.
    signal.setitimer(signal.ITIMER_REAL, request["deadline"])
    json.dump(run(request), sys.stdout)


def run(request: dict[str, Any]) -> dict[str, str]:
    """`output`, `value` of the last expression, and `error`, each empty where there is none."""
    # Halves of surrogate pairs come through JSON, but no file of source code holds any.
    code = request["code"].encode(errors="replace").decode()
    seconds, characters = request["seconds"], request["characters"]
    printed = Printed(characters)
    answer = {"value": "", "error": ""}
    limits: Any = {
        "max_feed_duration_secs": seconds,
        "max_total_sleep_secs": seconds,
        "max_memory": request["memory"],
        "max_recursion_depth": request["recursion"],
    }
    with Monty(max_processes=1, request_timeout=seconds + GRACE_SECONDS) as pool:
        try:
            with pool.checkout(limits=limits) as session:
                printed.interpreter = session.worker_pid
                confine(session.worker_pid, 4 * request["memory"], seconds)
                confine(os.getpid(), 4 * request["memory"] + OWN_MEMORY, seconds)
                kept = keep_value(code)
                session.feed_run(kept or code, print_callback=printed)
                if kept:
                    # An f-string is text whatever the program has made of the names `repr` and `str`.
                    show = f"'' if {VALUE} is None else f'{{{VALUE}!r:.{characters}}}'"
                    answer["value"] = session.feed_run(show)
        except MontyError as error:
            answer["error"] = describe(error, code)[:characters]
    if printed.room < 0:
        answer["error"] = f"the program was stopped: it printed more than {characters:,} characters"
    return {"output": "".join(printed.parts)[:characters], **answer}


class Printed:
    """Keeps what a program prints, and ends the interpreter once that is more than a bound.

    An exception from here would wait until the program has ended, and it may print for ever.
    """

    def __init__(self, characters: int) -> None:
        self.parts: list[str] = []
        self.room = characters
        self.interpreter: int | None = None

    def __call__(self, stream: str, text: str) -> None:
        """Take in a piece of either stream."""
        if self.room >= 0:
            self.parts.append(text)
        self.room -= len(text)
        if self.room < 0 and self.interpreter is not None:
            os.kill(self.interpreter, signal.SIGKILL)


def keep_value(code: str) -> str:
    """The program with the value of its last expression kept; empty where it ends with no expression."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        last = compile(code, "program", "exec", flags).body[-1]
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        # Whatever is wrong with it, the interpreter says so in its own words.
        return ""
    if not isinstance(last, ast.Expr) or last.end_lineno is None or last.end_col_offset is None:
        return ""
    source = code.encode()
    lines = source.splitlines(keepends=True)
    start = sum(map(len, lines[: last.lineno - 1])) + last.col_offset
    end = sum(map(len, lines[: last.end_lineno - 1])) + last.end_col_offset
    kept = source[:start] + f"{VALUE} = (".encode() + source[start:end] + b")" + source[end:]
    return kept.decode()


def describe(error: MontyError, code: str) -> str:
    """The error as a person would want it: what, and the lines that led there, innermost last."""
    if isinstance(error, MontyCrashedError):
        reason = "it took too long" if error.timed_out else "its process ended"
        return f"the program was stopped: {reason}"
    if not isinstance(error, MontyRuntimeError | MontySyntaxError):
        return str(error)
    lines = code.split("\n")
    places = []
    for frame in error.traceback()[-FRAMES:]:
        inside = f", in {frame.function_name}" if frame.function_name not in (None, "<module>") else ""
        own = frame.filename.startswith("<python-input") and frame.line <= len(lines)
        source = f": {lines[frame.line - 1].strip()}" if own else ""
        places.append(f"  line {frame.line}{inside}{source}")
    return "\n".join([error.display("type-msg"), *places])


def confine(process: int | None, memory: int, seconds: float) -> None:
    """Limits of the kernel's on a process, beneath those that the interpreter keeps itself.

    `memory` in bytes is on top of what it has now; what threads reserve and never touch is not counted.
    """
    if process is None or not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[5])
        limits = {
            resource.RLIMIT_DATA: pages * resource.getpagesize() + memory,
            resource.RLIMIT_CPU: int(2 * seconds + 10),
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_CORE: 0,
        }
        for kind, limit in limits.items():
            resource.prlimit(process, kind, (limit, limit))


if __name__ == "__main__":
    main()
