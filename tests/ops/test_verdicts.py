"""What a card is found to be best at: right first, then fast; asked once, kept, and told."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from workbench.ops.cuda import driver, verdicts
from workbench.ops.cuda.kernel import Kernel, KernelError
from workbench.ops.cuda.verdicts import CUDA, Verdict, verdict

KERNEL = Kernel("soft_prompt_embedding.cu", "soft_prompt_embedding", ("-DDTYPE_FP32",))
DEVICE = torch.device("cuda", 0)
SPENT = {CUDA: 0.004, "other": 0.001, "last": 0.0}


@pytest.fixture(autouse=True)
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card of which only the name is asked."""
    monkeypatch.setattr(verdicts, "folder", lambda: tmp_path)
    monkeypatch.setattr(driver, "load", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    yield


def ask(asked: list[str] | None = None, **reasons: str) -> Verdict:
    """The verdict on three ways, of which those with a reason are wrong."""

    def check(name: str) -> str:
        if asked is not None:
            asked.append(name)
        return reasons.get(name, "")

    checks = {name: lambda name=name: check(name) for name in SPENT}
    return verdict(
        "an operator", DEVICE, [KERNEL], checks, {"a case": lambda n: lambda: time.sleep(SPENT[n])}
    )


def test_of_those_that_are_right_the_fastest_is_taken() -> None:
    assert ask().taken == {"a case": "last"}
    assert ask(last="no").taken == {"a case": "last"}, "kept"


def test_those_that_err_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = ask(cuda="it errs by 1.0 in output", last="no")
    assert found.taken == {"a case": "other"}
    assert found.obstacles == {CUDA: "it errs by 1.0 in output", "last": "no"}
    assert found.reason("a case") == (
        "the only way that is right here; cuda: it errs by 1.0 in output; last: no"
    )
    assert [record.message for record in caplog.records] == [
        "an operator takes PyTorch's own operators on cuda:0: it errs by 1.0 in output"
    ]


def test_where_none_is_right_the_last_is_taken() -> None:
    assert ask(cuda="no", other="no", last="no").taken == {"a case": "last"}


def test_of_those_as_fast_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        verdicts, "_times", lambda calls: {name: 1.02 if name == CUDA else 1 for name in calls}
    )
    found = ask()
    assert found.taken == {"a case": CUDA}
    assert found.reason("a case") == "measured on this card: cuda 1.02 ms, other 1 ms, last 1 ms"


def test_a_verdict_is_kept_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    asked: list[str] = []
    first = ask(asked)
    assert ask(asked) == first and len(asked) == 3
    for damage in ("{", "[]", '{"an operator": {"taken": 1}}'):
        (tmp_path / "verdicts.json").write_text(damage)
        assert ask(asked).taken == first.taken
    assert len(asked) == 12


def test_kernels_that_cannot_be_had_are_told_and_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise KernelError("NVRTC cannot be loaded: gone")

    monkeypatch.setattr(driver, "load", failing)
    with caplog.at_level(logging.WARNING):
        found = ask()
    assert found.obstacles == {CUDA: "NVRTC cannot be loaded: gone"} and found.taken["a case"] != CUDA
    assert len(caplog.records) == 1 and not list(tmp_path.iterdir())


def test_a_way_that_breaks_is_not_used() -> None:
    def breaks() -> str:
        raise RuntimeError("no kernel image\nat all")

    found = verdict(
        "it", DEVICE, [], {"one": breaks, "two": lambda: ""}, {"a case": lambda name: lambda: None}
    )
    assert found.obstacles == {"one": "no kernel image"} and found.taken == {"a case": "two"}


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.ops.cuda.verdicts.tempfile.mkstemp", full)
    with caplog.at_level(logging.WARNING):
        assert ask().taken
    assert "No space left" in caplog.text
