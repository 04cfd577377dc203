"""Log-probabilities from the head: the loss and gradients of all logits, and only where that is sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from workbench.objectives import Batch, LossOutput, fused_head
from workbench.objectives.clm import IGNORE, CausalLanguageModeling
from workbench.objectives.fused_head import can_fuse
from workbench.recipe import Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning"),
]
VOCABULARY, LENGTH, ROWS = 32_768, 40, 3
TARGETS = 2 * (LENGTH - 7) + 13
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}


def llama() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def tuned(kind: str) -> Any:
    common: dict[str, Any] = {"task_type": "CAUSAL_LM"}
    adapters = {
        "prompt": lambda: PromptTuningConfig(num_virtual_tokens=5, **common),
        "prefix": lambda: PrefixTuningConfig(num_virtual_tokens=5, **common),
        "lora": lambda: LoraConfig(target_modules=["q_proj"], init_lora_weights=False, **common),
    }
    return get_peft_model(llama(), adapters[kind]())


def loss_of(model: Any, method: str = "full") -> LossOutput:
    generator = np.random.default_rng(0)
    ids = generator.integers(1, VOCABULARY, (ROWS, LENGTH))
    targets = generator.integers(1, VOCABULARY, (ROWS, LENGTH))
    targets[:, :7] = targets[1, 20:] = IGNORE
    arrays = {"input_ids": ids, "targets": targets, "position_ids": np.arange(LENGTH)[None].repeat(ROWS, 0)}
    given: dict[str, Any] = {"method": method}
    if method in ("prompt", "prefix"):
        given["num_virtual_tokens"] = 5
    named = {} if method == "full" else {"family": "llama", "model_name_or_path": "m"}
    made = Recipe(model=named, tuning=given, data={"packing": method == "full"})
    objective = CausalLanguageModeling(made, None)
    batch = Batch(arrays, (int((targets != IGNORE).sum()),), ids.size)
    return objective.loss(model, objective.tensors(batch, torch.device("cpu")), batch)


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("method", ["prompt", "prefix", "lora"])
def test_loss_and_gradients_are_those_of_all_logits(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tuned(method)
    fused = loss_of(model, method)
    found = gradients(model, fused.sums[0])
    monkeypatch.setattr("workbench.objectives.clm.can_fuse", lambda model: False)
    plain = loss_of(model, method)
    expected = gradients(model, plain.sums[0])
    torch.testing.assert_close(fused.sums, plain.sums, rtol=1e-6, atol=0)
    assert torch.equal(fused.stats[:1], plain.stats[:1])
    assert found and len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


def test_where_all_tokens_are_alike_every_target_is_a_best_one() -> None:
    model = llama()
    model.lm_head.weight.data.zero_()
    with torch.no_grad():
        found = loss_of(model)
    assert found.stats[0] == TARGETS
    assert found.sums.item() == pytest.approx(TARGETS * np.log(VOCABULARY), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_evaluation_agrees_with_training(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        trained = loss_of(model)
        monkeypatch.setattr("workbench.objectives.clm.logprobs_for_logits", counted := Counted())
        with torch.no_grad():
            evaluated = loss_of(model)
    assert counted.calls == 1
    torch.testing.assert_close(
        evaluated.sums, trained.sums, rtol=1e-6 if dtype == torch.float32 else 1e-3, atol=0
    )


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return fused_head.logprobs_for_logits(*args)


def test_a_head_that_is_trained_makes_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.objectives.clm.logprobs_for_logits", counted := Counted())
    loss_of(llama())
    assert counted.calls == 0


def test_only_a_head_that_is_all_there_is_behind_the_model() -> None:
    assert can_fuse(llama())
    assert can_fuse(tuned("prefix"))
    capped = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=30.0))
    assert not can_fuse(capped)
    assert can_fuse(Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=None)))


def test_an_adapted_or_a_compiled_head_is_left_alone() -> None:
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"])
    assert not can_fuse(get_peft_model(llama(), config))
    model = llama()
    model.compile()
    assert not can_fuse(model)


def test_a_capped_model_keeps_its_loss() -> None:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.05)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(50)
        evaluated = loss_of(model)
    trained = loss_of(model)
    torch.testing.assert_close(evaluated.sums, trained.sums, rtol=1e-6, atol=0)


def test_the_probe_leaves_the_model_as_it_was() -> None:
    model = llama().train()
    model.model.layers[1].eval()
    state, training = torch.get_rng_state(), [part.training for part in model.modules()]
    assert can_fuse(model)
    assert training == [part.training for part in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert "forward" not in vars(model.lm_head)


def test_no_memory_for_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tuned("prefix")
    loss_of(model, "prefix")
    logits = TARGETS * VOCABULARY * 4

    def largest() -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            loss_of(model, "prefix").sums.backward()
        assert seen.profiler is not None and seen.profiler.kineto_results is not None
        return max(int(e.nbytes()) for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")

    fused = largest()
    monkeypatch.setattr("workbench.objectives.clm.can_fuse", lambda model: False)
    assert largest() >= logits
    assert fused <= logits // 2
