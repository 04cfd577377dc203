"""What the model makes of fixed prompts as training goes: what the numbers sound like."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch

from workbench.errors import storage_error
from workbench.store.files import replace_file

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives import Objective


def _step_of(line: bytes) -> float:
    """The step of a line; infinite for one that a kill or a full disk left torn."""
    try:
        return float(orjson.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return math.inf


def drop_later(path: Path, step: int) -> None:
    """Drop the lines of a file whose `step` is later, and what is torn: they will be written again."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _step_of(line) <= step]
    if kept != lines:
        replace_file(path, b"".join(kept))


def append_line(path: Path, record: dict[str, Any]) -> None:
    """One more record at the end of a file of JSON lines. Raises `StorageError`."""
    try:
        with path.open("ab") as file:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise storage_error(error, path) from None


class SampleWriter:
    """Appends to `samples.jsonl`; drawn with generators of its own, so that training never notices."""

    def __init__(
        self,
        path: Path,
        prompts: Sequence[str],
        objective: Objective,
        *,
        seed: int,
        enabled: bool,
        writes: bool = True,
    ) -> None:
        """`writes`: whether what is drawn goes into the file too, or another process writes the same."""
        self.path = path
        self.prompts, self.objective, self.seed = prompts, objective, seed
        self.enabled, self.writes = enabled and bool(prompts), writes

    def resume(self, step: int) -> None:
        """Drop samples of later steps: they will be drawn again."""
        drop_later(self.path, step)

    @torch.no_grad()
    def write(self, model: nn.Module, step: int) -> None:
        """One record a prompt, drawn under the recipe's seed."""
        if not self.enabled:
            return
        was_training = model.training
        model.eval()
        records = b""
        device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            for prompt in self.prompts:
                found = {"prompt": prompt, **self.objective.sample(model, prompt)}
                record = {"step": step, "time": time.time(), **found}
                records += orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        model.train(was_training)
        if not self.writes:
            return
        try:
            with self.path.open("ab") as file:
                file.write(records)
        except OSError as error:
            raise storage_error(error, self.path) from None
