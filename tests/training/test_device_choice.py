"""On what a run runs: what Accelerate is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from workbench.recipe import load
from workbench.training import session


@pytest.mark.parametrize(
    ("processes", "device", "gpus", "cpu"),
    [(1, "auto", False, False), (2, "auto", False, True), (2, "auto", True, False), (2, "cpu", True, True)],
)
def test_processes_without_gpus_train_together(
    monkeypatch: pytest.MonkeyPatch, processes: int, device: str, gpus: bool, cpu: bool
) -> None:
    """Left to choose on such a machine, Accelerate would have each train for itself."""
    asked: dict[str, Any] = {}

    def accelerator(**given: Any) -> Any:
        asked.update(given)
        return SimpleNamespace(device=torch.device("cpu"))

    monkeypatch.setattr(session, "Accelerator", accelerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * gpus)
    session.make_accelerator(load("nano", [f"launch.num_processes={processes}", f"launch.device={device}"]))
    assert asked["cpu"] is cpu
