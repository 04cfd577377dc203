"""Running an untrusted program: in a process of its own, within limits, never in this one."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from workbench.errors import MissingExtraError, storage_error
from workbench.installing import pip_install_extra
from workbench.recipe.section import Section

WORKER = Path(__file__).with_name("sandbox_worker.py")
PROGRAM_CHARACTERS = 50_000
MEBIBYTE = 1024 * 1024
STARTUP_SECONDS = 10.0

# Enough to find Python and its packages: keys and tokens of the user's stay outside.
ENVIRONMENT = ("PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_LIBRARY_PATH", "MONTY_BIN")


class SandboxLimits(Section):
    """What a program may use."""

    seconds: float = Field(5.0, gt=0, le=120, description="Seconds it may compute, and as many it may sleep.")
    memory: int = Field(64, ge=8, le=4096, description="MiB its values may take.")
    recursion: int = Field(500, ge=10, le=1000, description="Calls within calls.")
    output_characters: int = Field(20_000, ge=100, le=1_000_000, description="Characters it may print.")


@dataclass(frozen=True)
class Ran:
    """What a program printed, the text of its last expression's value, and how it failed, if it did."""

    output: str = ""
    value: str = ""
    error: str = ""

    def as_text(self) -> str:
        """All of it, one after the other."""
        shown = [self.output.rstrip("\n"), self.value, self.error]
        return "\n".join(part for part in shown if part) or "(the program printed nothing)"


def require_sandbox() -> None:
    """Raise `MissingExtraError` where the interpreter is not installed."""
    if importlib.util.find_spec("pydantic_monty") is None:
        raise MissingExtraError(
            "programs of a model run in a sandbox that is not installed",
            where="pydantic-monty",
            hint=pip_install_extra("tools"),
        )


async def run(code: str, limits: SandboxLimits) -> Ran:
    """Run a program and wait for it, without ever holding up the event loop.

    Its processes are gone when this returns, is cancelled, or the time is up. Raises `StorageError` when
    no process can be started.
    """
    if len(code) > PROGRAM_CHARACTERS:
        return Ran(error=f"the program has {len(code):,} characters, at most {PROGRAM_CHARACTERS:,} run")
    deadline = STARTUP_SECONDS + 3 * limits.seconds
    request = {
        "code": code,
        "seconds": limits.seconds,
        "memory": limits.memory * MEBIBYTE,
        "recursion": limits.recursion,
        "characters": limits.output_characters,
        "deadline": deadline,
    }
    process = await _start(limits)
    try:
        async with asyncio.timeout(deadline):
            return await _converse(process, json.dumps(request).encode())
    except TimeoutError:
        return Ran(error=f"the program was stopped: it was not done after {deadline:g} seconds")
    finally:
        await _end(process)


async def _start(limits: SandboxLimits) -> asyncio.subprocess.Process:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        # -P: a module beside the worker must not stand in for one of the standard library's.
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(WORKER)),
            stdin=pipe,
            stdout=pipe,
            stderr=nothing,
            cwd="/",
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            start_new_session=True,
            limit=16 * limits.output_characters + MEBIBYTE,
        )
    except OSError as error:
        raise storage_error(error, sys.executable) from None


async def _converse(process: asyncio.subprocess.Process, request: bytes) -> Ran:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(request)
        process.stdin.write_eof()
    try:
        answer = json.loads(await process.stdout.readline())
        return Ran(answer["output"], answer["value"], answer["error"])
    except (ValueError, TypeError, KeyError):
        return Ran(error="the program was stopped: the sandbox ended before it was done")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and the interpreter's below it, and wait until that is so."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
