"""What happened in a run since the last look, as lasting lines: phases, alarms, evaluations, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from workbench.cli import render
from workbench.store.events import EventTail, line_of
from workbench.store.metrics import MetricsTail
from workbench.store.runs import Run
from workbench.store.status import ACTIVE_STATES, Status

SAMPLE_WIDTH = 200


class EventReader:
    """Tells each event once; what was there when it was made counts as told."""

    def __init__(self, run: Run, *, samples: bool = False) -> None:
        self.run = run
        status = run.status()
        self._state = status.seen_state() if status.step else ""
        self._message = status.message
        self._checkpoints = {path.name for path in run.checkpoints()}
        self._metrics = MetricsTail(run.metrics_path)
        self._read_metrics()
        self._evaluations = self._metrics.count("eval_loss")
        self._samples = SampleTail(run) if samples else None
        self._events = EventTail(run.events_path)
        self._events.poll()

    def poll(self, status: Status) -> Iterator[str]:
        """Lines for what is new in `status` and in the run's folder."""
        if status.state != self._state:
            before, self._state = self._state, status.state
            # Training goes on after each checkpoint; that is no news.
            if before != "saving" and (line := _phase(status)):
                yield line
        if status.message != self._message:
            self._message = status.message
            if status.message and status.state in ACTIVE_STATES:
                yield render.literal(status.message)
        for event in self._events.poll():
            yield render.literal(line_of(event))
        yield from self._new_evaluations()
        for path in self.run.checkpoints():
            if path.name not in self._checkpoints:
                self._checkpoints.add(path.name)
                yield f"saved {path.name}"
        if self._samples:
            yield from map(sample_line, self._samples.poll())

    def _read_metrics(self) -> None:
        self._metrics.poll()
        while self._metrics.behind:
            self._metrics.poll()

    def _new_evaluations(self) -> Iterator[str]:
        self._read_metrics()
        count = self._metrics.count("eval_loss")
        # A resumed run drops what it goes over again, and tells it again.
        first, self._evaluations = min(self._evaluations, count), count
        if first == count:
            return
        steps, values = (array.tolist() for array in self._metrics.series("eval_loss"))
        for index in range(first, count):
            best = index > 0 and values[index] < min(values[:index])
            text = f"step {steps[index]:,.0f}: eval_loss {values[index]:.4f}"
            yield f"{text}, best so far" if best else text


class SampleTail:
    """Reads the complete new lines of `samples.jsonl`."""

    def __init__(self, run: Run, *, from_start: bool = False) -> None:
        self.path = run.samples_path
        self._offset = 0
        if not from_start:
            self.poll()

    def poll(self) -> list[dict[str, Any]]:
        """Samples written since the last call; damaged lines are passed over."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except OSError:
            return []
        whole, newline, _ = content.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        samples = []
        for line in whole.split(b"\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                samples.append(value)
        return samples


def sample_line(sample: dict[str, Any], width: int = SAMPLE_WIDTH) -> str:
    """A sample on one line: step, prompt and what the model made of it."""
    text = render.literal(f"{sample.get('prompt', '')}▸{sample.get('text', '')}")
    return f"sample at step {sample.get('step', '?')}: {render.clip(text, width)}"


def _phase(status: Status) -> str:
    if status.state == "running":
        facts = [
            render.literal(str(fact))
            for fact in (
                f"on {status.device}" if status.device else "",
                f"{status.num_processes} processes" if status.num_processes > 1 else "",
                f"{render.count(status.num_parameters)} parameters" if status.num_parameters else "",
                f"{status.max_steps:,} steps" if status.max_steps else "",
            )
            if fact
        ]
        return ", ".join(["training", *facts])
    return {
        "starting": "starting the worker",
        "preparing": "preparing data and model",
        "stopping": "stopping: a checkpoint is written first",
    }.get(status.state, "")
