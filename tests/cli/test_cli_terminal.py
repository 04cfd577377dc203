"""The program on a real terminal: a pseudo-terminal that pexpect holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect

from workbench.store import launch
from workbench.store.runs import find_run

FAKE = Path(__file__).with_name("fake_worker.py")
WITH_FAKE = (
    "import sys; from workbench.store import launch; fake = sys.argv.pop(1);"
    "launch.command = lambda run, section: [sys.executable, fake, str(run.path), 'wait'];"
    "from workbench.cli import main; raise SystemExit(main(sys.argv[1:]))"
)


def spawn(*arguments: str, **environment: str) -> pexpect.spawn:
    """The program on a terminal of 100×30, its worker replaced by the stand-in that waits."""
    return pexpect.spawn(
        sys.executable,
        ["-c", WITH_FAKE, str(FAKE), *arguments],
        dimensions=(30, 100),
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        encoding="utf-8",
        timeout=60,
    )


def see(process: pexpect.spawn, word: str) -> None:
    """Wait until the interface has drawn a word, and then nothing more for half a second."""
    process.expect(word)
    while process.expect([r".+", pexpect.TIMEOUT], timeout=0.5) == 0:
        pass


def end(process: pexpect.spawn) -> int | None:
    """The exit status, once the program has left."""
    process.expect(pexpect.EOF)
    process.close()
    status: int | None = process.exitstatus
    return status


def test_the_interface_opens_and_q_leaves() -> None:
    process = spawn("--no-mouse")
    see(process, "Playground")
    process.send("q")
    assert end(process) == 0


def test_a_dumb_terminal_is_told_so() -> None:
    process = spawn(TERM="dumb")
    process.expect("TERM=dumb")
    assert end(process) == 1


def test_quickstart_opens_the_interface_and_the_run_goes_on_behind_it() -> None:
    process = spawn("quickstart")
    see(process, "quickstart-1")
    process.send("q")
    process.expect("“quickstart-1” goes on")
    assert end(process) == 0
    run = find_run("quickstart-1")
    assert run.status().is_active
    launch.kill(run)


def test_following_leaves_the_live_line_when_interrupted() -> None:
    process = spawn("train", "nano", NO_COLOR="1")
    process.expect("saved checkpoint-5")
    process.expect("nano-1  running  step 5/20  25 %")
    process.sendintr()
    process.expect("“nano-1” goes on; watch it with: workbench runs follow nano-1\r\n")
    assert end(process) == 130
    launch.kill(find_run("nano-1"))


def test_deleting_asks_first() -> None:
    process = spawn("train", "nano", "--detach")
    process.expect("nano-1\r\n")
    assert end(process) == 0
    launch.kill(find_run("nano-1"))
    assert launch.wait(find_run("nano-1"), 30) == "lost"
    process = spawn("runs", "rm", "nano-1")
    process.expect(r"delete nano-1 \(.*\)\? \[y/N\] ")
    process.sendline("y")
    assert end(process) == 0
