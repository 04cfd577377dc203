"""Bytes that reach the terminal for each live refresh of a chart: four series appended, 120×30.

    python tests/benchmarks/chart_bytes.py

A real Textual app writes through its Linux driver into a pseudo-terminal in truecolour; the points of
a tick are appended when a line arrives on a pipe, and what the terminal then receives until it falls
silent is counted. Prints JSON. Two ages of run are measured: long, where a tick moves little, and
young, where every tick draws new columns and the axes are now and then rescaled.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios

ROWS, COLUMNS = 30, 120
TICKS = 40
# (age of the run, points at first, points a tick and series, whether smoothed)
CASES = (("long", 1_000_000, 20, 0.0), ("long, smoothed", 1_000_000, 20, 0.9), ("young", 210, 1, 0.0))


def child(count: int, new: int, smoothing: float) -> None:
    """The app under test; each byte on descriptor 3 is a tick."""
    import numpy as np
    from textual.app import App, ComposeResult

    from workbench.tui.widgets.chart import Chart

    generator = np.random.default_rng(0)

    def loss(x: np.ndarray, number: int) -> np.ndarray:
        return 2 + number / 3 + 8 * np.exp(-x / 1e5) + 4 / (1 + x / 40) + generator.normal(0, 0.08, len(x))

    class Live(App[None]):
        def compose(self) -> ComposeResult:
            yield Chart("loss", x_label="step", x_kind="count")

        def on_mount(self) -> None:
            import asyncio

            chart = self.query_one(Chart)
            chart.smoothing = smoothing
            x = np.arange(1.0, count + 1)
            for number in range(4):
                chart.set_series(str(number), x, loss(x, number), label=f"run-{number}", color=number)
                chart.append(str(number), x[-1:] + 1, loss(x[-1:], number))
            self.seen = count + 2
            asyncio.get_running_loop().add_reader(3, self.tick)

        def tick(self) -> None:
            if not os.read(3, 1):
                self.exit()
                return
            x = np.arange(self.seen, self.seen + new, dtype=np.float64)
            self.seen += new
            for number in range(4):
                self.query_one(Chart).append(str(number), x, loss(x, number))

    Live().run(mouse=False)


def received(terminal: int, quiet: float) -> int:
    """Bytes that arrive until nothing has come for `quiet` seconds."""
    count = 0
    with contextlib.suppress(OSError):  # raised once the other end is closed
        while select.select([terminal], [], [], quiet)[0]:
            count += len(os.read(terminal, 1 << 16))
    return count


def measure(count: int, new: int, smoothing: float) -> dict[str, float]:
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    ticks_out, ticks_in = os.pipe()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, __file__, "--child", str(count), str(new), str(smoothing)]
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" 3<&{ticks_out}', "sh", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        pass_fds=[ticks_out],
        start_new_session=True,
        env=environment,
    )
    os.close(slave)
    os.close(ticks_out)
    first = received(terminal, 5.0)
    sizes = []
    for _ in range(TICKS):
        os.write(ticks_in, b".")
        sizes.append(received(terminal, 0.2))
    os.close(ticks_in)
    received(terminal, 1.0)
    process.wait(10)
    os.close(terminal)
    return {
        "first_screen": first,
        "median": statistics.median(sizes),
        "mean": round(statistics.fmean(sizes)),
        "max": max(sizes),
        "within_target": sum(size <= 1500 for size in sizes) / len(sizes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)  # the app in the pseudo-terminal
    case = parser.parse_args().child
    if case:
        child(int(case[0]), int(case[1]), float(case[2]))
        return
    results = {name: measure(count, new, weight) for name, count, new, weight in CASES}
    print(json.dumps({**results, "target_median": 1500}))


if __name__ == "__main__":
    main()
