"""Frozen encoders and low-rank adapters: what learns, what is saved, and that plain PEFT reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_models import LABELS, answer_of, at, ids_of, model_of, purpose_of, size_of
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from workbench.errors import ModelError
from workbench.models.adapt import adapt
from workbench.models.load import load_model
from workbench.models.purpose import Purpose
from workbench.recipe import TuningSection

# PEFT itself uses what transformers has deprecated, and warns of tied layers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning"),
]
TASK = Purpose("classification", LABELS)
LORA = TuningSection(method="lora", r=4)
ENCODERS = [("bert", "mlm"), ("modernbert", "mlm"), ("electra", "mlm"), ("xlnet", "plm")]


def base(folder: Path, family: str = "bert", objective: str = "mlm", purpose: Purpose = TASK) -> Any:
    """A model of the purpose on the saved encoder of another."""
    if not folder.exists():
        model_of(family, objective).save_pretrained(folder)
    torch.manual_seed(7)
    return load_model(at(folder), purpose)


def learning(model: Any) -> set[str]:
    return {name for name, weights in model.named_parameters() if weights.requires_grad}


def train(model: Any, steps: int = 3) -> None:
    """A few large steps on anything, so that what learns is no longer what it was."""
    optimizer = torch.optim.SGD((w for w in model.parameters() if w.requires_grad), 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids_of(12)).logits.sum().backward()
        optimizer.step()


def test_full_is_the_model_itself(tmp_path: Path) -> None:
    model = base(tmp_path / "base")
    assert adapt(model, TuningSection(), TASK) is model
    assert learning(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(("family", "objective"), ENCODERS)
def test_frozen_only_what_is_new_learns(family: str, objective: str, tmp_path: Path) -> None:
    model = base(tmp_path / "base", family, objective)
    adapted: Any = adapt(model, TuningSection(method="frozen"), TASK)
    assert adapted is model
    assert set(model.new_weights) <= learning(model)
    prefix = f"{model.base_model_prefix}."
    inside = {name for name in learning(model) if name.startswith(prefix)}
    # A masked language model of BERT has no pooler: it is new, and frozen noise would be in the way.
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert inside == (pooler if family == "bert" else set())
    before = {name: weights.clone() for name, weights in model.named_parameters()}
    train(model)
    changed = {name for name, weights in model.named_parameters() if not torch.equal(weights, before[name])}
    assert changed == learning(model)


def test_frozen_on_a_trained_head_only_the_head_learns(tmp_path: Path) -> None:
    model = base(tmp_path / "base", "bert", "classification")
    adapt(model, TuningSection(method="frozen"), TASK)
    assert learning(model) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(("family", "objective"), ENCODERS)
@pytest.mark.parametrize("task", ["classification", "regression", "tagging", "span_extraction"])
def test_adapters_load_in_plain_peft(family: str, objective: str, task: str, tmp_path: Path) -> None:
    purpose, folder = purpose_of(task), tmp_path / "adapters"
    model: Any = adapt(base(tmp_path / "base", family, objective, purpose), LORA, purpose)
    ids = ids_of(12)
    if task != "span_extraction":
        train(model)
    model.eval().save_pretrained(folder)
    assert {path.name for path in folder.glob("adapter_*")} == {
        "adapter_model.safetensors",
        "adapter_config.json",
    }
    about = json.loads((folder / "adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(tmp_path / "base")
    # Another seed, so that whatever was not saved would come out different.
    torch.manual_seed(1234)
    inner = model.get_base_model()
    plain: Any = type(inner).from_pretrained(
        about["base_model_name_or_path"], num_labels=inner.config.num_labels
    )
    again = PeftModel.from_pretrained(plain, str(folder)).eval()
    torch.testing.assert_close(answer_of(again, ids), answer_of(model, ids), rtol=1e-5, atol=1e-5)


def test_a_run_goes_on_with_its_adapters(tmp_path: Path) -> None:
    model: Any = adapt(base(tmp_path / "base"), LORA, TASK)
    train(model)
    model.save_pretrained(tmp_path / "adapters")
    again: Any = adapt(base(tmp_path / "base"), LORA, TASK, tmp_path / "adapters")
    assert learning(again) == learning(model)
    ours, theirs = dict(model.named_parameters()), dict(again.named_parameters())
    assert all(torch.equal(ours[name], theirs[name]) for name in learning(model))
    assert torch.equal(answer_of(again.eval(), ids_of(9)), answer_of(model.eval(), ids_of(9)))
    (tmp_path / "adapters" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors"):
        adapt(base(tmp_path / "base"), LORA, TASK, tmp_path / "adapters")


def test_new_adapters_change_nothing_and_hold_what_their_rank_says(tmp_path: Path) -> None:
    plain = base(tmp_path / "base", "llama", "clm", Purpose("clm")).eval()
    before, total = answer_of(plain, ids_of(10)), size_of(plain)
    model: Any = adapt(plain, TuningSection(method="lora", r=4, target_modules=["q_proj"]), Purpose("clm"))
    assert torch.equal(answer_of(model.eval(), ids_of(10)), before)
    # Three layers, 32 to 32, two matrices of rank 4.
    assert size_of(model) - total == 3 * 2 * 4 * 32
    train(model)
    model.save_pretrained(tmp_path / "adapters")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"), str(tmp_path / "adapters")
    ).eval()
    torch.testing.assert_close(answer_of(again, ids_of(10)), answer_of(model.eval(), ids_of(10)))


@pytest.mark.parametrize(("family", "objective"), [("llama", "clm"), ("t5", "denoise"), ("bert", "mlm")])
def test_by_default_every_linear_layer_but_the_output_is_adapted(
    family: str, objective: str, tmp_path: Path
) -> None:
    purpose = purpose_of(objective)
    plain = base(tmp_path / "base", family, objective, purpose)
    output = plain.get_output_embeddings()
    linear = {name for name, m in plain.named_modules() if isinstance(m, torch.nn.Linear) and m is not output}
    model: Any = adapt(plain, LORA, purpose)
    adapted = {name.rpartition(".lora_A")[0] for name in learning(model) if ".lora_A" in name}
    assert {name.removeprefix("base_model.model.") for name in adapted} == linear


def test_whole_paths_name_layers_too(tmp_path: Path) -> None:
    tuning = TuningSection(method="lora", target_modules=["layer.1.attention.self.query"])
    model = adapt(base(tmp_path / "base"), tuning, TASK)
    adapted = {name for name in learning(model) if "lora_A" in name}
    assert len(adapted) == 1 and "layer.1.attention.self.query" in adapted.pop()


@pytest.mark.parametrize(
    ("wanted", "near"), [("qeury", "query"), ("classifier", "dense"), ("q_proj", "query")]
)
def test_layers_that_are_not_there_are_refused(wanted: str, near: str, tmp_path: Path) -> None:
    tuning = TuningSection(method="lora", target_modules=[wanted])
    with pytest.raises(ModelError, match=f"names “{wanted}”, which is no linear layer of Bert") as caught:
        adapt(base(tmp_path / "base"), tuning, TASK)
    assert near in caught.value.hint and "key, query, value" in caught.value.hint


def test_a_pair_takes_no_adapters() -> None:
    with pytest.raises(ModelError, match="rtd trains two"):
        adapt(model_of("electra", "rtd"), LORA, Purpose("rtd"))


def test_adapters_cannot_stand_in_for_weights_that_are_missing(tmp_path: Path) -> None:
    model_of("bert", "classification").save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="lacks .* weights that mlm needs"):
        adapt(base(tmp_path / "base", purpose=Purpose("mlm")), LORA, Purpose("mlm"))


def test_a_folder_of_adapters_is_no_model(tmp_path: Path) -> None:
    model: Any = adapt(base(tmp_path / "base"), LORA, TASK)
    model.save_pretrained(tmp_path / "adapters")
    model.get_base_model().config.save_pretrained(tmp_path / "adapters")
    with pytest.raises(ModelError, match="adapters, not a model") as caught:
        load_model(at(tmp_path / "adapters"), TASK)
    assert "base_model_name_or_path" in caught.value.hint
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "base") is not None
