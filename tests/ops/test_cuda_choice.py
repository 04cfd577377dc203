"""Which calls the CUDA kernels take, and what is told about it, on a machine without a GPU."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch

from workbench import ops
from workbench.errors import UsageError
from workbench.ops import examination
from workbench.ops.cuda import selected_logprobs_choice, shared_prefix_choice, soft_prompt_choice
from workbench.ops.cuda.shared_prefix_path import kernels
from workbench.ops.cuda.verdicts import Verdict
from workbench.ops.shared_prefix.check import errors, example
from workbench.ops.shared_prefix.paths import PATHS
from workbench.ops.shared_prefix.paths import Path as Way

ONE = example((1, 1, 1, 0), 64, torch.bfloat16, "meta")


def test_a_call_launches_eight_kernels() -> None:
    assert len({kernel.name for kernel in kernels(ONE)}) == 8


def given(monkeypatch: pytest.MonkeyPatch, module: Any, taken: str) -> list[dict[str, Any]]:
    """Verdicts that take one way everywhere; what each was asked of."""
    asked: list[dict[str, Any]] = []

    def verdict(operator: str, device: torch.device, wanted: Any, checks: Any, cases: Any) -> Verdict:
        asked.append({"operator": operator, "kernels": wanted, "checks": checks, "cases": cases})
        return Verdict(dict.fromkeys(cases, taken), {}, {case: {"cuda": 1, taken: 1} for case in cases})

    monkeypatch.setattr(module, "verdict", verdict)
    module._verdict.cache_clear()
    return asked


@pytest.mark.parametrize(
    ("shape", "case"),
    [
        ((2, 1, 127, 0), "decoding behind a short prefix"),
        ((2, 1, 128, 0), "decoding behind a long prefix"),
        ((2, 2, 127, 0), "training with a short prefix"),
        ((2, 2, 128, 3), "training with a long prefix"),
    ],
)
def test_each_kind_of_call_has_a_verdict_of_its_own(
    monkeypatch: pytest.MonkeyPatch, shape: Any, case: str
) -> None:
    asked = given(monkeypatch, shared_prefix_choice, "composed")
    path, reason = shared_prefix_choice.choose(example(shape, 64, torch.bfloat16, "meta"))
    assert path == "composed" and reason.startswith(f"{case}: measured on this card")
    assert list(asked[0]["checks"]) == ["cuda", "composed", "concatenated", "definition"]
    assert len(asked[0]["kernels"]) == 8 and case in asked[0]["cases"]


def test_heads_that_the_kernels_are_not_for_are_measured_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = given(monkeypatch, shared_prefix_choice, "concatenated")
    path, reason = shared_prefix_choice.choose(example((1, 2, 3, 0), 256, torch.bfloat16, "meta"))
    assert path == "concatenated" and "heads of 64, 96 and 128, not 256" in reason
    assert "cuda" not in asked[0]["checks"] and not asked[0]["kernels"]


def test_the_other_operators_ask_too(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = torch.device("meta")
    asked = given(monkeypatch, soft_prompt_choice, "cuda")
    found = soft_prompt_choice.example(1, 1, 1, 576, torch.bfloat16, torch.float32, meta)
    assert soft_prompt_choice.choose(found)[0] == "cuda"
    assert [kernel.options for kernel in asked[0]["kernels"]] == [("-DDTYPE_BF16", "-DPROMPT_FP32")] * 2
    uneven = soft_prompt_choice.example(1, 1, 1, 30, torch.bfloat16, torch.bfloat16, meta)
    assert soft_prompt_choice.choose(uneven)[0] == "definition" and len(asked) == 1

    asked = given(monkeypatch, selected_logprobs_choice, "chunked")
    make = partial(selected_logprobs_choice.example, 4, 9, dtype=torch.bfloat16, device=meta)
    path, reason = selected_logprobs_choice.choose(make(size=576), True)
    assert path == "chunked" and reason.startswith("gradients of the head: measured")
    assert len(asked[0]["kernels"]) == 3
    path, reason = selected_logprobs_choice.choose(make(size=30), True)
    assert path == "chunked" and "no multiple of 8" in reason


def test_a_verdict_is_a_constant_of_compiled_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, soft_prompt_choice, "cuda")
    inputs = soft_prompt_choice.example(1, 2, 3, 8, torch.float32, torch.float32, torch.device("cpu"))

    def ask(table: torch.Tensor) -> torch.Tensor:
        path, _ = soft_prompt_choice.choose(inputs._replace(table=table))
        return table + (1 if path == "cuda" else 2)

    compiled = torch.compile(ask, backend="eager", fullgraph=True)
    assert torch.equal(compiled(inputs.table), inputs.table + 1)


def test_what_compares_finds_what_is_wrong() -> None:
    inputs = selected_logprobs_choice.example(20, 50, size=16, dtype=torch.float32)
    forward, backward, _ = selected_logprobs_choice.WAYS["chunked"]
    assert not selected_logprobs_choice.compare(forward, backward, inputs)

    def off(*args: Any) -> Any:
        of_hidden, of_weight, of_bias = backward(*args)
        return of_hidden, of_weight * 1.001, of_bias

    assert "gradient of the head" in selected_logprobs_choice.compare(forward, off, inputs)
    embedded = soft_prompt_choice.example(2, 3, 4, 8, torch.bfloat16, torch.float32, torch.device("cpu"))
    way = soft_prompt_choice.WAYS["definition"]
    assert not soft_prompt_choice.compare(*way, embedded)
    assert "embeddings" in soft_prompt_choice.compare(lambda i: way[0](i) + 1, way[1], embedded)
    assert "gradient" in soft_prompt_choice.compare(way[0], lambda *a: way[1](*a) * 1.001, embedded)


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
