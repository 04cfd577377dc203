"""The samples pane: what the model made of its fixed prompts, the newest step first."""

from __future__ import annotations

import json

from workbench.store.runs import Run
from workbench.tui.text import reveal_control
from workbench.tui.train.sources import GrowingFile
from workbench.tui.widgets.text_lines import Line, plain

FIRST_BYTES = 1 << 19
MAXIMUM_SAMPLES = 400


class SamplesSource:
    """The last samples of a run."""

    def __init__(self, run: Run) -> None:
        self._file = GrowingFile(run.samples_path, FIRST_BYTES)
        self._samples: list[tuple[int, str, str]] = []

    def poll(self) -> list[Line] | None:
        new = self._file.new_lines()
        if new is None:
            return None
        lines, fresh = new
        samples = [sample for sample in map(_sample, lines) if sample is not None]
        self._samples = [*([] if fresh else self._samples), *samples][-MAXIMUM_SAMPLES:]
        return list(self._lines()) or [
            plain("No samples yet. A recipe names the prompts: training.sample_prompts", "dim")
        ]

    def _lines(self) -> list[Line]:
        lines: list[Line] = []
        steps = sorted({sample[0] for sample in self._samples}, reverse=True)
        for step in steps:
            lines.append(plain(f"step {step}", "title"))
            for _, prompt, text in (sample for sample in self._samples if sample[0] == step):
                lines += _wrap_sample(prompt, text)
        return lines


def _wrap_sample(prompt: str, text: str) -> list[Line]:
    """A sample as lines, broken where the text breaks; the prompt set off from what follows it."""
    prompt_lines = [reveal_control(part) for part in prompt.split("\n")]
    text_lines = [reveal_control(part) for part in text.split("\n")]
    lines: list[Line] = [((f"  {part}", "dim"),) for part in prompt_lines[:-1]]
    lines.append(((f"  {prompt_lines[-1]}", "key"), (text_lines[0], "")))
    lines += [((f"  {part}", ""),) for part in text_lines[1:]]
    return lines


def _sample(raw: bytes) -> tuple[int, str, str] | None:
    """(step, prompt, continuation) of one line; None for a line that is damaged or of another kind."""
    try:
        record = json.loads(raw)
        return int(record["step"]), str(record["prompt"]), str(record["text"])
    except (ValueError, TypeError, KeyError):
        return None
