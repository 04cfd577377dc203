"""Layers in stages, rows in micro-batches, and refusals of models that cannot be split."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from workbench.errors import ModelError, StorageError, TrainingError
from workbench.models.attention.attend import use_blocks
from workbench.models.attention.configuration import WorkbenchLlamaConfig
from workbench.models.attention.modeling import WorkbenchLlamaForCausalLM
from workbench.objectives import Batch
from workbench.recipe import Recipe, load
from workbench.recipe.parallel_section import Degrees
from workbench.training import checkpoint, random_state
from workbench.training.parallel import sharded_checkpoint, tensor
from workbench.training.parallel.pipeline import cut, spans
from workbench.training.parallel.split import check_model
from workbench.training.parallel.widths import parts, widened
from workbench.training.resume import resume
from workbench.training.session import make_accelerator
from workbench.training.state import TrainState

MOVING = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}


def small_llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**{**shape, **heads, **changes})).eval()


def small_bert() -> BertForMaskedLM:
    shape = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertForMaskedLM(BertConfig(**shape, intermediate_size=24))


@pytest.mark.parametrize("layers", [4, 5, 7])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_every_layer_is_in_one_stage(layers: int, stages: int) -> None:
    found = spans(layers, stages)
    assert [n for span in found for n in span] == list(range(layers))
    sizes = [len(span) for span in found]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


@torch.no_grad()
def test_stages_one_after_another_are_the_model() -> None:
    ids = torch.randint(0, 50, (2, 6))
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]]).expand(2, -1)
    expected = small_llama()(input_ids=ids, position_ids=positions, use_cache=False).logits
    names = set(dict(small_llama().named_parameters()))
    given, found = ids, set()
    # Each rank cuts a whole model of its own.
    for index in range(3):
        (stage,) = cut(small_llama(), range(index, index + 1), 3)
        stage.aliases = {"lm_head.weight": "model.embed_tokens.weight"}
        found |= {stage.whole_name(name) for name, _ in stage.named_parameters()}
        given = stage(given, tensors={"position_ids": positions})
    assert torch.allclose(given, expected, atol=1e-6)
    assert found == names


def test_rows_are_padded_without_targets_and_cut() -> None:
    def batch(rows: int, width: int) -> Batch:
        ids = np.arange(rows * width).reshape(rows, width)
        positions = np.broadcast_to(np.arange(width), (rows, width)).copy()
        arrays = {"input_ids": ids, "position_ids": positions, "targets": ids.copy()}
        return Batch(arrays, (rows * width,), rows * width)

    wide = widened(batch(2, 3), 5)
    assert wide.arrays["targets"][:, 3:].tolist() == [[-100, -100]] * 2
    assert wide.arrays["position_ids"][0].tolist() == [0, 1, 2, 3, 4]
    small = parts([batch(2, 3), batch(4, 5)], 3, 8)
    assert [part.arrays["input_ids"].shape for part in small] == [(2, 8)] * 3
    assert small[0].arrays["input_ids"][1, :3].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("model", "degrees", "said"),
    [
        (lambda: small_llama(), Degrees(tp=4), "parallel.tp=2"),
        (lambda: small_llama(intermediate_size=25), Degrees(tp=2), "25 features"),
        (lambda: small_llama(), Degrees(pp=4), "parallel.pp=3"),
        (lambda: small_llama(attn_implementation="eager"), Degrees(cp=2), "its own attention"),
        (
            lambda: small_bert(),
            Degrees(tp=2),
            "no plan for tensor parallelism",
        ),
        (lambda: small_bert(), Degrees(pp=2), "no plan for a pipeline"),
    ],
)
def test_models_that_cannot_be_split_so(model: Any, degrees: Degrees, said: str) -> None:
    layout: Any = SimpleNamespace(degrees=degrees)
    with pytest.raises(ModelError) as caught:
        check_model(model(), layout, Recipe())
    error = caught.value
    assert said in f"{error.message} {error.hint}"


def small_gpt() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=30, n_embd=16, n_layer=2, n_head=2))


@pytest.mark.parametrize(
    ("model", "degrees", "length", "said"),
    [
        (lambda: small_llama(rope_parameters=MOVING), Degrees(cp=2), 32, "no rank of cp reads all"),
        (lambda: small_llama(rope_parameters=MOVING), Degrees(pp=2), 32, "a pipeline pads"),
        (lambda: small_gpt(), Degrees(cp=2), 30, "make it 28 or less"),
        (lambda: small_gpt(), Degrees(cp=2), 28, ""),
        (lambda: small_llama(max_position_embeddings=30), Degrees(cp=2), 30, ""),
    ],
)
def test_positions_that_padding_would_change(model: Any, degrees: Degrees, length: int, said: str) -> None:
    layout: Any = SimpleNamespace(degrees=degrees)
    expected: Any = pytest.raises(ModelError) if said else contextlib.nullcontext()
    with expected as caught:
        check_model(model(), layout, Recipe(), length)
    assert caught is None or said in f"{caught.value.message} {caught.value.hint}"


def small_linear() -> WorkbenchLlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
    config = WorkbenchLlamaConfig(attention_kind="linear", qk_norm=True, **shape, **heads)
    model: WorkbenchLlamaForCausalLM = WorkbenchLlamaForCausalLM(config).eval()
    return model


@torch.no_grad()
def test_stages_of_our_own_decoders() -> None:
    ids, positions = torch.randint(0, 50, (2, 6)), torch.arange(6).expand(2, -1)
    expected = small_linear()(input_ids=ids, position_ids=positions, use_cache=False).logits
    given = ids
    for index in range(2):
        (stage,) = cut(small_linear(), range(index, index + 1), 2)
        given = stage(given, tensors={"position_ids": positions})
    assert torch.allclose(given, expected, atol=1e-6)


def test_norms_of_heads_are_added_up_over_ranks() -> None:
    model = small_linear()
    plan = tensor.plan_of(model)
    found = {name: plan[tensor._pattern(plan, name)] for name, _ in tensor._matching(model, plan)}
    norms = [style for name, style in found.items() if name.endswith(("q_norm", "k_norm"))]
    assert norms == [tensor.SUMMED] * 4


def test_rows_of_models_with_windows_can_be_shared() -> None:
    shape = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = MistralConfig(sliding_window=4, num_attention_heads=4, num_key_value_heads=2, **shape)
    model = MistralForCausalLM(config)
    assert use_blocks(model)
    layout: Any = SimpleNamespace(degrees=Degrees(cp=2))
    check_model(model, layout, Recipe())


def test_a_full_disk_under_one_rank_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: Any, checkpoint_id: str) -> None:
        raise CheckpointException("write", {1: (OSError(28, "No space left on device"), None)})  # type: ignore[dict-item]

    monkeypatch.setattr(sharded_checkpoint, "write_parts", full)
    stepper: Any = SimpleNamespace(weights={}, buffers=dict)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    target = tmp_path / "checkpoint-1"
    with pytest.raises(StorageError):
        checkpoint.write_folder(
            target, lambda folder: sharded_checkpoint.save(folder, stepper, optimizer, adapters=False)
        )
    assert list(tmp_path.iterdir()) == []


def test_processes_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="2, but torch sees 1 GPU here"):
        make_accelerator(load("nano", ["launch.num_processes=2"]))


def test_ranks_of_tp_draw_the_same_in_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    state = TrainState(step=5, data_key="same")
    found = checkpoint.Checkpoint(Path("checkpoint-5"), state, {"layout": {"tp": 1}})
    reporter: Any = SimpleNamespace(enabled=False, update=lambda **_: None)
    optimizer: Any = None
    seeds: list[int] = []
    monkeypatch.setattr(random_state, "seed_everything", seeds.append)
    for rank in range(2):
        layout = {"tp": 2}
        resume(
            found, optimizer, "same", reporter, rank=rank, seed_offset=0, layout=layout, restore=lambda: None
        )
    assert seeds == [5000, 5000]
