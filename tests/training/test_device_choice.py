"""On what a run runs: what Accelerate is asked for."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from workbench.recipe import load
from workbench.training import session
from workbench.training.stop import Stopped


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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: processes if gpus else 0)
    session.make_accelerator(load("nano", [f"launch.num_processes={processes}", f"launch.device={device}"]))
    assert asked["cpu"] is cpu


@pytest.mark.parametrize(
    ("own", "others"), [("in preparation", 0.0), ("after it", 0.0), ("", 1.0), ("", 0.0)]
)
def test_a_stop_in_preparation_stops_all(monkeypatch: pytest.MonkeyPatch, own: str, others: float) -> None:
    """What one process is asked, all of them do, and each takes part in the agreement."""
    told: list[float] = []

    def prepare(*_: Any) -> str:
        if own == "in preparation":
            raise Stopped
        return "prepared"

    def greatest(mine: torch.Tensor, accelerator: Any, *, greatest: bool) -> torch.Tensor:
        told.append(mine.item())
        return torch.clamp(mine, min=others)

    monkeypatch.setattr(session, "prepare_data", prepare)
    monkeypatch.setattr(session, "over_processes", greatest)
    nobody: Any = None
    stop: Any = own == "after it"
    expected: Any = pytest.raises(Stopped) if own or others else contextlib.nullcontext()
    with expected:
        found: Any = session.prepare_together(nobody, 8, nobody, stop, nobody)
        assert found == "prepared"
    assert told == [float(bool(own))]
