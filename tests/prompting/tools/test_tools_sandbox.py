"""Programs that do as they should, sandboxes that are ended from outside, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from own_children import children

from workbench.errors import MissingExtraError
from workbench.prompting.tools import python as python_tool
from workbench.prompting.tools import sandbox
from workbench.prompting.tools.python import python
from workbench.prompting.tools.sandbox import PROGRAM_CHARACTERS, Ran, SandboxLimits, run
from workbench.prompting.tools.toolbox import Toolbox

QUICK = SandboxLimits(seconds=1)
LONG = SandboxLimits(seconds=60)
ENDLESS = "while True: pass"


def processes(under: int | None = None) -> list[psutil.Process]:
    """The sandbox's processes below this one: ours, and the interpreter's below it."""
    found = []
    for process in children(under, recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert processes() == []


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "ran"),
    [
        ("1234 * 5678", Ran(value="7006652")),
        ("print('a', 1)\nprint('b')", Ran(output="a 1\nb\n")),
        ("x = 6\nprint('hi')\nx * 7  # the answer", Ran(output="hi\n", value="42")),
        ("def f(n):\n    return n * 2\n\nf(\n  21,\n)\n", Ran(value="42")),
        ("'é'; 'ü'", Ran(value="'ü'")),
        ("import math\nmath.sqrt(16); [i for i in range(3)]", Ran(value="[0, 1, 2]")),
        ("class A:\n    def __repr__(self): return 'an A'\nA()", Ran(value="an A")),
        ("import asyncio\nawait asyncio.sleep(0.01)\n5", Ran(value="5")),
        ("print('x')", Ran(output="x\n")),
        ("x = 3", Ran()),
        ("", Ran()),
        ("# nothing", Ran()),
        ("print('\\x1b[31m[bold]')", Ran(output="\x1b[31m[bold]\n")),
        ("1 +", Ran(error="SyntaxError: Expected an expression\n  line 1: 1 +")),
        (
            "def f(n):\n    return 1 / n\n\nprint('before')\nf(0)",
            Ran(
                "before\n",
                "",
                "ZeroDivisionError: division by zero\n  line 5: f(0)\n  line 2, in f: return 1 / n",
            ),
        ),
        ("x = '\ud800'\nlen(x)", Ran(value="1")),
    ],
)
async def test_programs(code: str, ran: Ran) -> None:
    assert await run(code, QUICK) == ran


async def test_a_program_starts_from_nothing() -> None:
    await run("secret = 1", QUICK)
    assert "NameError" in (await run("secret", QUICK)).error


async def test_a_program_that_is_too_long_is_not_run() -> None:
    assert "characters" in (await run("#" * (PROGRAM_CHARACTERS + 1), QUICK)).error


async def test_the_tool_gives_text_and_tells_errors() -> None:
    toolbox = Toolbox([python(QUICK)])
    fine = await toolbox.call("python", '{"code": "print(1)\\n2"}')
    assert (fine.status, fine.text) == ("ok", "1\n2")
    nothing = await toolbox.call("python", '{"code": "x = 1"}')
    assert nothing.text == "(the program printed nothing)"
    failed = await toolbox.call("python", '{"code": "print(1)\\nx"}')
    assert failed.status == "failed" and failed.text.startswith("Error: 1\nNameError")


async def test_no_more_programs_run_at_once_than_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_tool, "PROCESSES", 2)
    tool = python(QUICK)
    most = 0
    calls = asyncio.gather(*(tool.call({"code": "1"}) for _ in range(5)))
    while not calls.done():
        most = max(most, len(children()))
        await asyncio.sleep(0.005)
    assert await calls == ["1"] * 5 and 1 <= most <= 2


@pytest.mark.parametrize("who", ["sandbox", "interpreter"])
async def test_a_sandbox_that_is_killed_from_outside_is_an_error_and_the_next_call_works(who: str) -> None:
    tool = Toolbox([python(LONG)])
    call = asyncio.create_task(tool.call("python", f'{{"code": "{ENDLESS}"}}'))
    await until(lambda: len(processes()) == 2)
    names = {("interpreter" if process.name() == "monty" else "sandbox"): process for process in processes()}
    os.kill(names[who].pid, signal.SIGKILL)
    result = await asyncio.wait_for(call, 20)
    assert result.status == "failed" and "the program was stopped" in result.text
    assert (await tool.call("python", '{"code": "6 * 7"}')).text == "42"


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_DATA"), reason="the kernel has no such limits")
async def test_the_kernel_bounds_both_processes_as_well() -> None:
    task = asyncio.create_task(run(ENDLESS, LONG))
    await until(lambda: len(processes()) == 2)

    def bounded() -> bool:
        limits = [(one.rlimit(psutil.RLIMIT_FSIZE), one.rlimit(psutil.RLIMIT_DATA)) for one in processes()]
        return all(written == (0, 0) and 0 < data[1] < 1 << 30 for written, data in limits)

    await until(bounded)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_program_is_gone_at_once() -> None:
    task = asyncio.create_task(run(ENDLESS, LONG))
    await until(lambda: len(processes()) == 2)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2 and processes() == []


async def test_the_last_resort_ends_a_sandbox_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(sandbox, "WORKER", stuck)
    monkeypatch.setattr(sandbox, "STARTUP_SECONDS", 0.2)
    ran = await run("1", SandboxLimits(seconds=0.1))
    assert "not done after 0.5 seconds" in ran.error


async def test_a_sandbox_that_talks_nonsense_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.py"
    monkeypatch.setattr(sandbox, "WORKER", odd)
    for content in (
        "print('nonsense')",
        "print('[1]')",
        'print(\'{"output": 1, "evil": 2}\')',
        "print('x' * 10**8)",
    ):
        odd.write_text(content)
        assert "ended before it was done" in (await run("1", QUICK)).error


async def test_a_missing_interpreter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        python()
    assert caught.value.where == "pydantic-monty" and "pip install" in caught.value.hint


async def test_when_the_interface_is_killed_its_sandboxes_end_by_themselves() -> None:
    code = (
        "import asyncio\n"
        "from workbench.prompting.tools.sandbox import SandboxLimits, run\n"
        f"asyncio.run(run({ENDLESS!r}, SandboxLimits(seconds=1.5)))"
    )
    interface = subprocess.Popen([sys.executable, "-c", code])
    await until(lambda: len(processes(interface.pid)) == 2)
    orphans = processes(interface.pid)
    interface.kill()
    interface.wait()
    await until(lambda: not any(process.is_running() for process in orphans))
