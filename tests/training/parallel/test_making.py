"""One process makes a model, and all get their parts: those that each would have had of a whole one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from workbench.errors import ModelError, TrainingError
from workbench.models.rope_scaling_dynamic import use_exact_dynamic
from workbench.recipe import load
from workbench.recipe.parallel_section import Degrees
from workbench.training.agreement import FailedElsewhere, together
from workbench.training.making import make
from workbench.training.parallel import parts
from workbench.training.parallel.gradients import local
from workbench.training.parallel.layout import Layout
from workbench.training.parallel.split import split
from workbench.training.parallel.stepper import Stepper

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
MOVING = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
PATIENCE = timedelta(seconds=60)


def llama(**changes: Any) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**{**SHAPE, "num_key_value_heads": 2, **changes}))


def moving_llama() -> LlamaForCausalLM:
    model = llama(rope_parameters=MOVING, max_position_embeddings=16)
    use_exact_dynamic(model, 0)
    return model


def adapted_llama() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    # PEFT asks transformers for what it has renamed.
    warnings.simplefilter("ignore", FutureWarning)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"])
    wrapped: nn.Module = get_peft_model(llama(), config)
    return wrapped


def norms_by_head() -> Qwen3ForCausalLM:
    shape = {**SHAPE, "num_key_value_heads": 4, "head_dim": 4, "num_hidden_layers": 4}
    model = Qwen3ForCausalLM(Qwen3Config(**shape))
    for weight in model.parameters():
        # Norms of ones would be right by chance.
        nn.init.normal_(weight)
    return model


def gemma() -> Gemma3ForCausalLM:
    return Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, num_key_value_heads=2, head_dim=4))


def bert() -> BertForMaskedLM:
    return BertForMaskedLM(BertConfig(**SHAPE))


def t5() -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4)
    )


def bart() -> BartForConditionalGeneration:
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return BartForConditionalGeneration(BartConfig(vocab_size=50, d_model=16, **layers, **heads))


SHARDED, COPIED = Degrees(dp_shard=4), Degrees(dp_replicate=2, dp_shard=2)
CASES: list[tuple[Callable[[], nn.Module], Degrees, bool]] = [
    (lambda: llama(tie_word_embeddings=True), SHARDED, False),
    (llama, COPIED, False),
    (lambda: llama(tie_word_embeddings=True), Degrees(tp=2, dp_shard=2), False),
    (lambda: llama(tie_word_embeddings=True), Degrees(pp=2, tp=2), False),
    (lambda: llama(tie_word_embeddings=True, num_hidden_layers=4), Degrees(pp=2, dp_shard=2), True),
    (lambda: llama(vocab_size=51), Degrees(cp=2, tp=2), False),
    (norms_by_head, Degrees(tp=2, dp_shard=2), False),
    (norms_by_head, Degrees(pp=2, dp_replicate=2), True),
    (gemma, Degrees(tp=2, pp=2), False),
    (moving_llama, SHARDED, False),
    (adapted_llama, COPIED, False),
    (bert, SHARDED, False),
    (t5, SHARDED, False),
    (bart, COPIED, False),
]


class Objective(SimpleNamespace):
    """What a model is checked by: nothing, but it says so."""

    def __init__(self) -> None:
        super().__init__(checked=0, told=None)

    def check(self, model: nn.Module) -> None:
        assert not any(weight.is_meta for weight in model.parameters())
        self.checked += 1

    def found(self) -> dict[str, Any]:
        return {"found": 3}

    def adopt(self, model: nn.Module, found: dict[str, Any]) -> None:
        assert all(weight.is_meta for weight in model.parameters())
        self.told = found["found"]


def parts_of(stepper: Stepper) -> dict[str, Tensor]:
    """All that a process has, by name."""
    buffers = {f"buffer {name}": tensor for name, tensor in stepper.module.named_buffers()}
    return {name: local(tensor).detach() for name, tensor in {**stepper.weights, **buffers}.items()}


def compare(accelerator: Accelerator, folder: Path) -> None:
    """All cases: each with a whole model, and one for all."""
    # A few rows at a time.
    vars(parts)["PIECE"] = 1000
    for number, (build, degrees, interleaved) in enumerate(CASES):
        schedule = ["parallel.pp_schedule=interleaved"] if interleaved else []
        recipe = load("nano", ["training.gradient_checkpointing=true", *schedule])
        layout = Layout.make(degrees, accelerator, PATIENCE)
        objective: Any = Objective()

        def seeded(build: Callable[[], nn.Module] = build) -> nn.Module:
            torch.manual_seed(0)
            return build()

        expected = parts_of(split(seeded(), objective, layout, recipe, 16))
        # Processes that have no model draw nothing.
        torch.manual_seed(accelerator.process_index)
        made = make(seeded, None, recipe, layout)
        assert made.has_frames
        made.check(objective)
        assert (objective.checked, objective.told) == ((1, None) if accelerator.is_main_process else (0, 3))
        drawn = torch.rand(1)
        stepper = split(made.model, objective, layout, recipe, 16)
        made.hand_out(stepper)
        found = parts_of(stepper)
        assert found.keys() == expected.keys(), number
        for name, part in expected.items():
            assert torch.equal(found[name], part), (number, name)
        learning = [weight.requires_grad for weight in stepper.weights.values()]
        assert any(learning) and not any(weight.is_meta for weight in stepper.module.parameters())
        seeded()
        assert torch.equal(drawn, torch.rand(1))
        if degrees.tp > 1 and build is norms_by_head:
            _check_sum(stepper, seeded())


def _check_sum(stepper: Stepper, whole: Any) -> None:
    """Norms that each rank uses on its own heads have the gradient of all."""
    ids = torch.arange(16)[None]
    for model in (stepper.module, whole):
        model.train()
        model(input_ids=ids, use_cache=False).logits.square().mean().backward()
    stepper.settle()
    name = "model.layers.1.self_attn.q_norm.weight"
    found, expected = (dict(model.named_parameters())[name].grad for model in (stepper.module, whole))
    assert found is not None and expected is not None
    whole_gradient = found.full_tensor() if isinstance(found, DTensor) else found
    assert torch.allclose(whole_gradient, expected, rtol=1e-4)


def test_parts_are_those_of_a_whole_model_each(tmp_path: Path) -> None:
    forked.together(4, compare, tmp_path)


def fail(accelerator: Accelerator, folder: Path) -> None:
    """Errors of one process, which end all."""
    rank, recipe = accelerator.process_index, load("nano", [])
    layout = Layout.make(Degrees(dp_shard=3), accelerator, PATIENCE)
    objective: Any = Objective()

    def missing() -> nn.Module:
        assert rank == 0
        raise ModelError("there is no such folder", where="here")

    def unfit(model: nn.Module) -> None:
        raise MemoryError

    def ends(work: Callable[[], Any], kind: type[Exception], said: str) -> None:
        with pytest.raises(kind if rank == 0 else FailedElsewhere) as caught:
            work()
        assert rank != 0 or said in str(caught.value)

    ends(lambda: make(missing, None, recipe, layout), ModelError, "no such folder")
    made = make(llama, None, recipe, layout)
    objective.check = unfit
    ends(lambda: made.check(objective), MemoryError, "")

    def first_of_two() -> None:
        if rank > 0:
            raise ModelError(f"no room on {rank}", hint="add some")

    ends(lambda: together(first_of_two, accelerator), TrainingError, "rank 1: no room on 1")
    # They go on together all the same.
    assert together(lambda: rank, accelerator, usual=PATIENCE) == rank


def test_an_error_of_one_process_ends_all(tmp_path: Path) -> None:
    forked.together(3, fail, tmp_path)


def make_whole(accelerator: Accelerator, folder: Path) -> None:
    """A model that cannot be sent is made by each."""
    layout = Layout.make(Degrees(dp_shard=2), accelerator, PATIENCE)
    objective: Any = Objective()

    def bound() -> nn.Module:
        torch.manual_seed(0)
        model: nn.Module = llama()
        vars(model)["scale"] = lambda hidden: hidden
        return model

    made = make(bound, None, load("nano", []), layout)
    assert not made.has_frames and not any(weight.is_meta for weight in made.model.parameters())
    made.check(objective)
    stepper = split(made.model, objective, layout, load("nano", []), 16)
    made.hand_out(stepper)
    assert objective.checked == 1
    (weight,) = {tuple(part.shape) for name, part in parts_of(stepper).items() if "embed" in name}
    assert weight == (25, 16)


def test_a_model_that_cannot_be_sent_is_made_by_each(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    forked.together(2, make_whole, tmp_path)
    assert "each process holds the whole model until it is split" in capfd.readouterr().out
