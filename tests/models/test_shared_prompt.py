"""A flat row of prompts with several completions each is what its separate rows are, in every decoder that
takes it, and decoders that do not are found out."""

from __future__ import annotations

import copy
from typing import Any

import llama_layers
import numpy as np
import pytest
import torch
from compiled_home import compiled_home
from peft import LoraConfig, get_peft_model
from tiny_decoders import DECODERS
from tiny_models import model_of

from workbench.models import fused_layers
from workbench.models.fused_layers import fuse_layers
from workbench.models.shared_prompt.attention import IMPLEMENTATION
from workbench.models.shared_prompt.plan import plan_arrays
from workbench.models.shared_prompt.support import COMPLETIONS, PROMPTS, flat_logits, share_prompts
from workbench.ops.decoder_training.branches import Branches
from workbench.ops.decoder_training.layer import layer

SIZE = sum(PROMPTS) + sum(map(sum, COMPLETIONS))
IDS = torch.randint(3, 200, (SIZE,), generator=torch.Generator().manual_seed(1))
LENGTH = 64


def rows() -> list[torch.Tensor]:
    """The places of each separate row in the flat one."""
    found, place = [], 0
    for prompt, sizes in zip(PROMPTS, COMPLETIONS, strict=True):
        own = torch.arange(place, place + prompt)
        place += prompt
        for size in sizes:
            found.append(torch.cat([own, torch.arange(place, place + size)]))
            place += size
    return found


def weighted(logits: torch.Tensor, prompt: int, seed: int) -> torch.Tensor:
    """A sum over a row's logits from the last of its prompt on, each with a weight of its own."""
    generator = torch.Generator().manual_seed(seed)
    part = logits[prompt - 1 :]
    return (part * torch.rand(part.shape, generator=generator, dtype=part.dtype)).sum()


def gradients(model: Any, total: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    total.backward()
    return [weights.grad.clone() for weights in model.parameters() if weights.grad is not None]


def check(model: Any) -> None:
    """Logits and gradients in fp64, where any mistake stands far above rounding, which is that of fp32: in
    it norms are computed, whatever the model is in."""
    prompts = [prompt for prompt, sizes in zip(PROMPTS, COMPLETIONS, strict=True) for _ in sizes]
    flat, _ = flat_logits(model, IDS)
    together = sum(weighted(flat[row], prompts[n], n) for n, row in enumerate(rows()))
    found = gradients(model, together)  # type: ignore[arg-type]
    alone = [model(input_ids=IDS[row][None], use_cache=False).logits[0] for row in rows()]
    for row, logits in zip(rows(), alone, strict=True):
        torch.testing.assert_close(flat[row], logits, rtol=0, atol=1e-5)
    apart = sum(weighted(logits, prompts[n], n) for n, logits in enumerate(alone))
    wanted = gradients(model, apart)  # type: ignore[arg-type]
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm().clamp(min=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma3"])
def test_logits_and_gradients_are_those_of_separate_rows(name: str) -> None:
    model = DECODERS[name]().double()
    # Some of the rows are longer than the windows of the last two.
    assert share_prompts(model, LENGTH) is None
    assert model.config._attn_implementation == IMPLEMENTATION
    check(model)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_and_recomputed_activations_take_flat_rows_too() -> None:
    config = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model: Any = get_peft_model(DECODERS["llama"](), config).double()
    assert share_prompts(model, 64) is None
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    check(model)


@pytest.mark.parametrize(
    "model", [DECODERS["bloom"], lambda: model_of("xlnet", "plm")], ids=["bloom", "xlnet"]
)
def test_models_that_cannot_are_left_as_they_were(model: Any) -> None:
    made = model()
    before = made.config._attn_implementation
    assert "attention is eager" in str(share_prompts(made, LENGTH))
    assert made.config._attn_implementation == before


def test_a_model_that_looks_elsewhere_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # One whose layers never hand the plan to their attention.
    model: Any = DECODERS["llama"]()
    for part in model.model.layers:
        whole = part.self_attn.forward
        monkeypatch.setattr(
            part.self_attn,
            "forward",
            lambda *args, _whole=whole, **kwargs: _whole(
                *args, **{k: v for k, v in kwargs.items() if k != "row_plan"}
            ),
        )
    assert "does not keep the completions of a flat row apart" in str(share_prompts(model, LENGTH))
    assert model.config._attn_implementation == "sdpa"


def test_a_window_that_is_not_told_to_attention_must_hold_the_rows() -> None:
    model: Any = DECODERS["llama"]()
    model.config.sliding_window = 32
    assert "longer than its window of 32" in str(share_prompts(model, LENGTH))
    assert share_prompts(model, 32) is None


def test_samples_are_written_as_before() -> None:
    model = DECODERS["llama"]()
    ids = IDS[None, :6]
    before = model.generate(ids, max_new_tokens=5, do_sample=False)
    assert share_prompts(model, 64) is None
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), before)


def test_a_plan_has_each_token_once_and_each_row_whole() -> None:
    arrays, layout = plan_arrays([2, 3], [(1, 2), (1,)])
    assert arrays["plan_index"].tolist() == [[0, 1, 2, 0], [0, 1, 3, 4], [5, 6, 7, 8]]
    assert arrays["plan_home"].tolist() == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert arrays["plan_again"].tolist() == [[0, 1], [4, 5]] and layout.rounds == (2,)
    assert layout.branches.groups == [((0, 2), [(2, 3), (3, 5)]), ((5, 8), [(8, 9)])]
    assert arrays["position_ids"].tolist() == [[0, 1, 2, 2, 3, 0, 1, 2, 3]]
    index = arrays["plan_index"].ravel()
    assert np.array_equal(index[arrays["plan_home"]], np.arange(9))


@pytest.mark.parametrize("half", [False, True])
def test_fused_layers_take_flat_rows(
    half: bool, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Compiled code is shared by all tests.
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))
    plain, fused = llama_layers.model_of(), llama_layers.model_of()
    assert share_prompts(plain, LENGTH) is None and share_prompts(fused, LENGTH) is None
    assert fuse_layers(fused) == 2
    called = []

    def counted(*args: Any) -> torch.Tensor:
        called.append(args[-1])
        return layer(*args)

    monkeypatch.setattr(fused_layers, "layer", counted)
    draws = torch.randn(SIZE, llama_layers.VOCABULARY, generator=torch.Generator().manual_seed(2))

    def found(model: Any) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            flat, _ = flat_logits(model, IDS)
        return [flat.detach(), *gradients(model, (flat.to(draws.dtype) * draws).sum())]

    exact = found(copy.deepcopy(plain).double()) if not half else found(plain)
    errors = torch.tensor(llama_layers.error(found(fused), exact))
    assert len(called) == 2 and isinstance(called[0], Branches)
    # Some twenty products in a row, of sums of at most 208 numbers; in bf16 both are off.
    assert errors.max() < 20 * 208**0.5 * 2.0**-24 if not half else errors.square().mean().sqrt() < 0.05
