"""How long until the interface stands there, against the smallest Textual program with header and footer.

Both run in a pseudo-terminal, taking turns, so that whatever else the machine does meets both alike.
The time is from the start of the process to the byte that ends the first frame with the last line in
it. Prints JSON: medians in seconds, their ratio, and the time until the table of runs stands there.

    python tests/benchmarks/first_frame.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

TRIVIAL = """
from textual.app import App
from textual.widgets import Footer, Header

class Trivial(App):
    BINDINGS = [("q", "quit", "Quit-here")]

    def compose(self):
        yield Header()
        yield Footer()

Trivial().run()
"""
WORKBENCH = "from workbench.tui.app import run_app; run_app()"
LIMIT = 20.0


def first_seen(program: str, marks: list[bytes], environment: dict[str, str]) -> list[float]:
    """Start a program in a terminal of 80×24; seconds until each mark has been written."""
    begin = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", program], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen, times = b"", [float("nan")] * len(marks)
    try:
        while time.perf_counter() - begin < LIMIT and any(value != value for value in times):
            if select.select([terminal], [], [], 0.05)[0]:
                screen += os.read(terminal, 1 << 16)
                now = time.perf_counter() - begin
                for index, mark in enumerate(marks):
                    if times[index] != times[index] and mark in screen:
                        times[index] = now
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    if any(value != value for value in times):
        raise SystemExit(f"not all of {marks} were seen in {LIMIT} s; the screen began {screen[:300]!r}")
    return times


def fabricate(home: Path, runs: int = 5) -> None:
    """Runs with some metrics, written without the workbench's own code."""
    for number in range(runs):
        folder = home / "runs" / f"bench-{number}"
        folder.mkdir(parents=True)
        status = {"state": "finished", "step": 500, "max_steps": 500, "loss": 2.5, "created": number}
        (folder / "status.json").write_text(json.dumps(status))
        (folder / "recipe.yaml").write_text("{}\n")
        lines = (json.dumps({"step": step, "time": step, "loss": 3.0}) for step in range(1, 501))
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="starts of each program")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        fabricate(Path(folder))
        environment = {
            **os.environ,
            "WORKBENCH_HOME": folder,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }
        environment.pop("NO_COLOR", None)
        trivial, ours, table = [], [], []
        # The first start of each only fills the caches of the disk.
        for number in range(rounds + 1):
            times = (
                first_seen(TRIVIAL, [b"Quit-here"], environment),
                first_seen(WORKBENCH, [b"Playground", b"bench-4"], environment),
            )
            if number:
                trivial.append(times[0][0])
                ours.append(times[1][0])
                table.append(times[1][1])
    medians = [statistics.median(values) for values in (trivial, ours, table)]
    result = {
        "rounds": rounds,
        "trivial_s": round(medians[0], 4),
        "workbench_s": round(medians[1], 4),
        "ratio": round(medians[1] / medians[0], 3),
        "table_of_runs_s": round(medians[2], 4),
        "table_ratio": round(medians[2] / medians[0], 3),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
