"""Models without weights: what they keep, and what can be found out of them all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled_home import compiled_home
from llama_layers import model_of as wide_llama
from tiny_decoders import MODELS
from tiny_models import CASES, FakeTokenizer, at, model_of, purpose_of, section_of
from torch import nn

from workbench.errors import ModelError
from workbench.models.build import build_model
from workbench.models.frame import Frame, drawn, lent_weights, pack, take_weights, unpack, without_weights
from workbench.models.fused_layers import fuse_layers
from workbench.models.isolation import check_isolation
from workbench.models.load import load_frame, load_model
from workbench.models.rope_scaling_dynamic import use_exact_dynamic


def described(model: nn.Module) -> dict[str, Any]:
    """All that a frame has to have in common with its model."""
    weights = {
        name: (weight.shape, weight.dtype, weight.requires_grad) for name, weight in model.named_parameters()
    }
    every = {name: id(weight) for name, weight in model.named_parameters(remove_duplicate=False)}
    firsts = {number: name for name, number in reversed(every.items())}
    config: Any = getattr(model, "config", None)
    return {
        "weights": weights,
        "tied": {name: firsts[number] for name, number in every.items()},
        "buffers": {name: tensor.tolist() for name, tensor in model.named_buffers()},
        "kept": [sorted(part._non_persistent_buffers_set) for part in model.modules()],
        "modules": [(name, type(part)) for name, part in model.named_modules()],
        "config": config.to_dict(),
        "attention": config._attn_implementation,
    }


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_a_frame_is_the_model_but_for_its_weights(family: str, objective: str) -> None:
    model = model_of(family, objective)
    before = described(model)
    frame = pack(model)
    assert isinstance(frame, Frame)
    other = unpack(frame)
    assert described(other) == before == described(model)
    assert all(weight.is_meta for weight in other.parameters())
    expected = {name: weight.clone() for name, weight in model.named_parameters()}
    taken = take_weights(model)
    assert described(model) == before and all(weight.is_meta for weight in model.parameters())
    assert taken.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in taken.items())
    tokenizer: Any = FakeTokenizer()
    with without_weights():
        made = build_model(section_of(family), tokenizer, purpose_of(objective)).eval()
    assert described(made) == before


def test_angles_that_move_are_sent_with_the_model() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = wide_llama(hidden_size=64, rope_parameters=rope)
    use_exact_dynamic(model, 7)
    frame = pack(model)
    assert isinstance(frame, Frame)
    other: Any = unpack(frame)
    exact = vars(other.model.rotary_emb)["forward"]
    assert exact.pad == 7 and exact.module is other.model.rotary_emb
    other.load_state_dict(model.state_dict(), assign=True)
    ids = torch.arange(40)[None] % 30
    assert torch.equal(other(input_ids=ids).logits, model(input_ids=ids).logits)


class Strange(nn.Parameter):
    """A weight of a kind of its own."""


def test_why_a_model_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = model_of("llama", "clm")
    model.scale = lambda hidden: hidden
    assert "cannot be sent" in str(pack(model))
    strange: Any = nn.Linear(2, 2)
    strange.weight = Strange(torch.zeros(2, 2))
    assert "Strange" in str(pack(strange))
    monkeypatch.setattr(type(strange), "__module__", "transformers_modules.hub.modeling")
    assert "code of its own" in str(pack(strange))


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_documents_are_kept_apart_by_models_without_weights(name: str) -> None:
    model = MODELS[name]()
    take_weights(model)
    with lent_weights(model):
        check_isolation(model)
        logits = model(input_ids=torch.arange(9)[None]).logits.detach()
        # As large as those of a model that says something.
        assert 0.1 < float(logits.std()) < 10
    assert all(weight.is_meta for weight in model.parameters())
    seen = type(model.get_output_embeddings()).forward

    def leaking(head: Any, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = seen(head, hidden + hidden.mean(1, keepdim=True))
        return logits

    head = model.get_output_embeddings()
    head.forward = leaking.__get__(head)
    with pytest.raises(ModelError, match="does not keep packed documents apart"), lent_weights(model):
        check_isolation(model)
    assert all(weight.is_meta for weight in model.parameters()) and not head._forward_pre_hooks


def test_layers_without_weights_are_fused_as_those_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))
    whole, frame = wide_llama(), wide_llama()
    take_weights(frame)
    same: dict[type, bool] = {}
    assert fuse_layers(whole) == fuse_layers(frame, same) == 2
    assert list(same.values()) == [True] and all(weight.is_meta for weight in frame.parameters())
    other = wide_llama()
    take_weights(other)
    # What is known of a kind is not tried again.
    assert fuse_layers(other, dict.fromkeys(same, False)) == 0
    with drawn(frame):
        assert not any(weight.is_meta for weight in frame.parameters())


@pytest.mark.parametrize(("family", "objective"), [("llama", "clm"), ("bert", "mlm"), ("t5", "denoise")])
def test_a_folder_is_opened_without_its_weights(tmp_path: Path, family: str, objective: str) -> None:
    model_of(family, objective).save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "max_new_tokens": 17}))
    section = at(tmp_path, dropout=0.25)
    whole: Any = load_model(section, purpose_of(objective))
    frame: Any = load_frame(section, purpose_of(objective))
    assert described(frame) == described(whole) and frame.training is whole.training
    assert all(weight.is_meta for weight in frame.parameters())
    if path.exists():
        assert frame.generation_config.to_dict() == whole.generation_config.to_dict()
        assert frame.generation_config.max_new_tokens == 17


def test_a_head_without_weights_is_that_of_the_task(tmp_path: Path) -> None:
    model_of("bert", "mlm").save_pretrained(tmp_path)
    purpose = purpose_of("classification")
    whole, frame = load_model(at(tmp_path), purpose), load_frame(at(tmp_path), purpose)
    assert frame is not None and described(frame) == described(whole)


def test_folders_that_have_to_be_read(tmp_path: Path) -> None:
    model: Any = model_of("electra", "rtd")
    model.save_pretrained(tmp_path)
    assert load_frame(at(tmp_path), purpose_of("rtd")) is None
    with pytest.raises(ModelError):
        load_frame(at(tmp_path / "nowhere"), purpose_of("clm"))
