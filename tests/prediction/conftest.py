"""Model folders as a run leaves them, and the process's commands called here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from task_records import TaskSetting

from workbench.models.adapt import adapt
from workbench.prediction.commands import COMMANDS
from workbench.prediction.events import Events
from workbench.recipe import TuningSection
from workbench.training.checkpoint import save_model

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def ask() -> Ask:
    """Events of a command, as the one who started the process would read them."""

    def call(command: str, **request: Any) -> list[dict[str, Any]]:
        defaults = {"columns": None, "max_length": None, "batch_size": 4, "device": "cpu"}
        stream = io.BytesIO()
        COMMANDS[command]({**defaults, **request}, Events(stream))
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return call


@pytest.fixture
def model_of(tmp_path: Path) -> Callable[..., tuple[str, TaskSetting]]:
    """A model of a task in a folder, after a few steps; with `lora`, only its adapters."""

    def make(task: str, *, lora: bool = False, steps: int = 0) -> tuple[str, TaskSetting]:
        setting = TaskSetting(task)
        folder = tmp_path / f"{task}-model"
        if lora:
            base = tmp_path / "base"
            setting.model.save_pretrained(base)
            setting.model = type(setting.model).from_pretrained(base)
            setting.model = adapt(setting.model, TuningSection(method="lora", r=4), setting.purpose)
        learning = [parameter for parameter in setting.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=5e-3)
        for step in range(steps):
            setting.mean_loss(setting.rows.batch(step * 12, 12)).backward()
            optimizer.step()
            optimizer.zero_grad()
        save_model(folder, setting.model.eval(), setting.tokenizer)
        return str(folder), setting

    return make
