"""What a CPU is reckoned to take where layers and head are operators that keep little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compiled_home import compiled_home
from estimate_cases import model_of, recipe_of
from estimate_steps import loss_of, saved_bytes

from workbench.models.estimate import Known, estimate, fused, load_for
from workbench.models.estimate.activations import activations
from workbench.models.estimate.matrices import matrices
from workbench.models.estimate.shape import shape_of
from workbench.models.fused_layers import LEAST_SIZE, fuse_layers
from workbench.ops import native
from workbench.ops.decoder_training import blocks, head
from workbench.ops.decoder_training.native import WIDTH_STEP
from workbench.ops.shared_prefix.native import MOST_SIZE, SIZE_STEP
from workbench.recipe import Recipe

SIZES = {
    "hidden_size": 144,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "num_hidden_layers": 6,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.parametrize("bf16", [False, True])
def test_activations_are_those_that_autograd_keeps(
    bf16: bool, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))
    recipe = recipe_of("llama", "clm", **SIZES)
    shape, _ = shape_of(recipe)
    assert shape is not None
    load = load_for(recipe, shape, 3, 126)
    model = model_of(recipe, device="cpu").train()
    assert fuse_layers(model) == 6
    seen = saved_bytes(model, loss_of(model, recipe, load), bf16=bf16).total
    way = fused.fused_on_cpu(recipe, shape)
    assert way == fused.Fused(layers=True, head=False)
    found = activations(shape, matrices(shape), load, half=bf16, fused=way)
    assert found.kept(checkpointing=False) == pytest.approx(seen, rel=0.035 if bf16 else 0.015)
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = saved_bytes(model, loss_of(model, recipe, load), bf16=bf16).total
    masks = 2 * load.tokens * load.length
    assert again * 0.98 < found.kept(checkpointing=True) < (again + masks) * 1.1
    assert again < seen / 2


def test_the_operators_take_what_they_are_reckoned_to_take() -> None:
    assert (fused.LEAST_SIZE, fused.WIDTH_STEP) == (LEAST_SIZE, WIDTH_STEP)
    assert (fused.SIZE_STEP, fused.MOST_SIZE) == (SIZE_STEP, MOST_SIZE)
    assert (fused.CHUNK, fused.LEAST_ROWS) == (blocks.CHUNK, blocks.LEAST_ROWS)
    assert fused.LEAST_VOCABULARY == head.LEAST_VOCABULARY


def reckoned(method: str = "full", **training: Any) -> Known:
    model = SIZES | {"vocab_size": 50_000}
    given = {"model": model, "tuning": {"method": method}, "training": training}
    found = estimate(Recipe.model_validate(given | {"data": {"max_length": 128}})).known
    assert found is not None
    return found


def test_a_cpu_takes_less_than_a_gpu_and_no_less_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual, half = reckoned(), reckoned(bf16=True)
    for known in (usual, half):
        assert known.memory.activations < known.gpu_memory.activations / 2
        # Of 1,024 tokens: in two parts, in one, and with log-probabilities and gradients.
    assert usual.memory.logits == 512 * 50_000 * 4 and half.memory.logits == 1024 * 50_000 * 2
    assert usual.gpu_memory.logits == 3 * 1024 * 50_000 * 4
    compiled = reckoned(torch_compile=True)
    assert compiled.memory.activations == usual.gpu_memory.activations
    for name, value in (("CXX", str(tmp_path / "nothing")), (native.SWITCH, "0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert reckoned().memory == compiled.memory
    assert reckoned().memory == usual.memory
