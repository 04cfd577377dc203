"""The interface in a real terminal: bytes in, bytes out, read by a terminal emulator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from real_terminal import LIMIT


def test_tabs_keys_and_quit(make_run: Any, terminal: Any) -> None:
    make_run("first", steps=30)
    make_run("second", steps=30)
    one = terminal()
    one.see("finished")
    for words in ("1 Build", "2 Data", "3 Train", "4 Playground", "5 Rank", "? help", "q quit"):
        one.see(words)
    one.see("eval_loss")
    one.send("j")
    one.until(lambda text: any("▸" in line and "first" in line for line in text.split("\n")), "cursor")
    one.send("l")
    one.see("printed nothing yet")
    one.send("?")
    one.see("train.overlay")
    one.send("\x1b")
    one.until(lambda text: "train.overlay" not in text, "help closed")
    one.send("5")
    one.see("Rank answers")
    one.send("\x1b[1;5D")
    one.see("Prompt a model")
    one.send("3:")
    one.see("Search for commands")
    one.send("\x1b")
    one.until(lambda text: "Search for" not in text, "palette closed")
    one.send("q")
    assert one.wait_for_end() == 0
    # The terminal is left as it was: main screen, cursor shown, mouse off.
    assert one.raw.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in one.raw[-400:]
    assert b"\x1b[?1000l" in one.raw[-400:]


def test_idle_writes_nothing(make_run: Any, terminal: Any) -> None:
    make_run("still", state="running", steps=30)
    one = terminal(200, 60)
    one.see("eval_loss")
    one.see("running")
    # Quiet for longer than two rounds of reading, after which a longer wait must bring nothing.
    deadline = time.monotonic() + LIMIT
    while one.read(0.7):
        assert time.monotonic() < deadline, "never quiet"
    assert one.read(1.5) == b""


def test_killed_and_started_again(make_run: Any, terminal: Any, add_metrics: Any) -> None:
    run = make_run("lasting", state="running", steps=50, max_steps=100)
    one = terminal()
    one.see("50/100")
    os.kill(one.pid, signal.SIGKILL)
    assert one.wait_for_end() == -signal.SIGKILL
    add_metrics(run, 51, 80)
    status = run.status()
    status.step = 80
    status.write(run.status_path)
    two = terminal()
    two.see("80/100")
    # 5 / 80: the last point of the whole curve, which begins at step 1.
    two.see("0.06250")
    two.until(lambda text: any(char > "⠀" for line in text.split("\n")[10:] for char in line), "a curve")


def test_hang_up_ends_the_interface_and_not_the_worker(make_run: Any, terminal: Any) -> None:
    from workbench.store.process import ProcessIdentity, _start_time

    waits = [sys.executable, "-c", "input()"]
    worker = subprocess.Popen(waits, stdin=subprocess.PIPE, start_new_session=True)
    try:
        run = make_run("going", state="running", steps=5)
        status, me = run.status(), ProcessIdentity.current()
        status.process = ProcessIdentity(worker.pid, _start_time(worker.pid) or 0.0, me.boot, me.host)
        status.write(run.status_path)
        one = terminal()
        one.see("running")
        one.hang_up()
        one.wait_for_end()
        assert worker.poll() is None
        assert run.status().is_active
    finally:
        worker.communicate(b"\n")


def test_too_small_and_grown(make_run: Any, terminal: Any) -> None:
    make_run("one", steps=5)
    one = terminal(20, 5)
    one.see("too small: 20×5")
    one.resize(80, 24)
    one.see("finished")
    one.send("q")
    assert one.wait_for_end() == 0


def test_no_colour_means_none(make_run: Any, terminal: Any) -> None:
    make_run("one", steps=5)
    one = terminal(NO_COLOR="1")
    one.see("eval_loss")
    cells = [cell for row in one.screen.buffer.values() for cell in row.values()]
    assert all(cell.fg == "default" and cell.bg == "default" for cell in cells)
    assert b"38;5;" not in one.raw and b"38;2;" not in one.raw


def test_ascii_where_the_locale_has_nothing_else(make_run: Any, terminal: Any) -> None:
    make_run("one", steps=5)
    one = terminal(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    one.see("+ finished")
    one.see("loss")


def test_keys_typed_ahead_reach_what_was_opened(make_run: Any, terminal: Any) -> None:
    make_run("delete-me", steps=5)
    one = terminal(100, 30, EDITOR="false")
    one.see("eval_loss")
    # All in one write: not one of these letters may run as a command.
    one.send("/Deeleteq")
    one.see("0 of 1 run")
    one.see("Deeleteq")
    one.send("\x1b")
    one.see("delete-me")
    one.send("n")
    one.see("choose a preset")
    one.send("\r")
    one.see("workbench train quickstart")
    one.send("/max_steps\r")
    one.see("training.max_steps")
    one.send("\r\x15" + "37\r")
    one.see("training.max_steps=37")
    one.send("\r")
    one.see("enter keeps it")
    one.send("\x1540\r")
    one.see("training.max_steps=40")
