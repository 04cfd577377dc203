"""Which calls the CUDA kernels take, and what is told about it, on a machine without a GPU."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench import ops
from workbench.errors import UsageError
from workbench.ops import examination
from workbench.ops.cuda import driver, shared_prefix_choice
from workbench.ops.cuda.kernel import KernelError
from workbench.ops.cuda.shared_prefix_path import kernels
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.paths import PATHS
from workbench.ops.shared_prefix.paths import Path as Way

ONE = example((1, 1, 1, 0), 64, torch.bfloat16, "meta")


@pytest.fixture(autouse=True)
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card of which only the name is asked."""
    monkeypatch.setattr(shared_prefix_choice, "folder", lambda: tmp_path)
    monkeypatch.setattr(driver, "load", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    shared_prefix_choice._why_not.cache_clear()
    yield
    shared_prefix_choice._why_not.cache_clear()


def test_a_call_launches_eight_kernels() -> None:
    assert len({kernel.name for kernel in kernels(ONE)}) == 8


def test_kernels_are_compared_once_and_the_verdict_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def compare(*_: object) -> str:
        asked.append(1)
        return ""

    monkeypatch.setattr(shared_prefix_choice, "_compare", compare)
    for _ in range(2):
        assert shared_prefix_choice.why_not(ONE) is None
        shared_prefix_choice._why_not.cache_clear()
    assert len(asked) == 1
    (tmp_path / "verdicts.json").write_text("{")
    assert shared_prefix_choice.why_not(ONE) is None and len(asked) == 2


def test_kernels_that_err_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = [("output", 1.0, 0.1)]
    monkeypatch.setattr(shared_prefix_choice, "errors", lambda *_: wrong)
    monkeypatch.setattr(
        shared_prefix_choice, "example", lambda shape, head, dtype, _: example(shape, head, dtype, "meta")
    )
    with caplog.at_level(logging.WARNING):
        reasons = {shared_prefix_choice.why_not(ONE) for _ in range(2)}
    assert len(caplog.records) == 1
    assert "err by 1.0e+00 in output" in str(reasons)


def test_kernels_that_cannot_be_had_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise KernelError("NVRTC cannot be loaded: gone")

    monkeypatch.setattr(driver, "load", failing)
    with caplog.at_level(logging.WARNING):
        assert {shared_prefix_choice.why_not(ONE) for _ in range(3)} == {"NVRTC cannot be loaded: gone"}
    assert len(caplog.records) == 1


def test_every_path_of_this_machine_is_within_its_bounds() -> None:
    for name in examination._names("cpu"):
        path = PATHS[name]
        for dtype in (torch.float32, torch.bfloat16):
            inputs = example((2, 9, 33, 3), 64, dtype, "cpu")
            for part, error, allowed in errors(path.forward, path.backward, inputs):
                assert error <= allowed, (name, dtype, part)


def test_a_wrong_path_and_nan_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    path = PATHS["definition"]

    def wrong(inputs: Any) -> Any:
        output, lse = path.forward(inputs)
        return output * torch.nan, lse

    monkeypatch.setitem(PATHS, "definition", Way(wrong, path.backward))
    (found,) = examination._check("definition", torch.float32, "cpu")
    assert not found["ok"] and "nan" in found["text"]


@pytest.mark.parametrize(
    ("operator", "shapes"),
    [
        ("shared_prefix_attention", (2, 4, 2, 8, 100, 9, 64)),
        ("soft_prompt_embedding", (2, 3, 4, 10, 8)),
        ("selected_logprobs", (3, 100, 8)),
    ],
)
def test_explanations_are_words_for_json(operator: str, shapes: tuple[int, ...]) -> None:
    found = json.loads(json.dumps(ops.explain(operator, shapes, dtype="bf16")))
    assert found["dtype"] == "bfloat16" and found["path"] and " " in found["reason"]
    assert found["alternatives"] and all(one["why_not"] for one in found["alternatives"])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("attention", (1,)), {}, "no operator"),
        (("selected_logprobs", (1, 2)), {}, "N, V, D"),
        (("selected_logprobs", (1, 2, 8)), {"dtype": "int8"}, "no floating type"),
        (("selected_logprobs", (1, 2, 8)), {"dtype": "bf15"}, "no floating type"),
        (("selected_logprobs", (1, 2, 8)), {"device": "gpu"}, "no device"),
        (("selected_logprobs", (1, 2, 8)), {"device": "cuda"}, "no CUDA device"),
        (("shared_prefix_attention", (1, 5, 3, 1, 1, 1, 64)), {}, "5 heads on 3"),
    ],
)
def test_what_cannot_be_explained(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ops.explain(*arguments, **options)
