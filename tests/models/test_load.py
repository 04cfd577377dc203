"""Loading says what is wrong with a folder, and which weights it had to draw anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LABELS, answer_of, at, ids_of, model_of

from workbench.errors import ModelError
from workbench.models.load import load_model
from workbench.models.purpose import Purpose

TASK = Purpose("classification", LABELS)


def encoder(folder: Path, family: str = "bert", objective: str = "mlm") -> Path:
    model_of(family, objective).save_pretrained(folder)
    return folder


def loaded(folder: Path, purpose: Purpose, seed: int = 5, **options: Any) -> Any:
    torch.manual_seed(seed)
    return load_model(at(folder), purpose, **options).eval()


@pytest.mark.parametrize(
    ("family", "objective", "new"),
    [
        ("bert", "mlm", ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias"]),
        ("modernbert", "mlm", ["classifier.bias", "classifier.weight", "head.dense.weight"]),
        ("electra", "mlm", ["classifier.dense.bias", "classifier.dense.weight", "classifier.out_proj.bias"]),
        ("xlnet", "plm", ["logits_proj.bias", "logits_proj.weight", "sequence_summary.summary.bias"]),
    ],
)
def test_a_missing_head_is_drawn_and_named(
    family: str, objective: str, new: list[str], tmp_path: Path
) -> None:
    folder = encoder(tmp_path, family, objective)
    one, same, other = (loaded(folder, TASK, seed) for seed in (5, 5, 6))
    assert one.new_weights[:3] == new
    assert one.config.id2label == dict(enumerate(LABELS))
    ids = ids_of(12)
    assert torch.equal(answer_of(one, ids), answer_of(same, ids))
    assert not torch.equal(answer_of(one, ids), answer_of(other, ids))
    with pytest.raises(ModelError, match="the checkpoint lacks weights: "):
        loaded(folder, TASK, complete=True)


def test_the_encoder_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    model = model_of("bert", "mlm")
    model.save_pretrained(tmp_path)
    task = loaded(tmp_path, TASK)
    ours = task.bert.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in model.bert.state_dict().items())


@pytest.mark.parametrize("labels", [("apple", "quince", "pear"), ("a", "b", "c"), ("a", "b"), tuple("abcd")])
@pytest.mark.parametrize("family", ["bert", "electra", "xlnet", "modernbert"])
def test_a_head_for_other_labels_is_drawn_anew(family: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    trained = model_of(family, "classification")
    trained.save_pretrained(tmp_path)
    model = loaded(tmp_path, Purpose("classification", labels))
    assert model.config.id2label == dict(enumerate(labels)) and model.config.num_labels == len(labels)
    weights = dict(model.named_parameters())
    head = {name for name in weights if name.startswith(("classifier", "head", "logits_p", "sequence_s"))}
    assert set(model.new_weights) == head
    before = dict(trained.named_parameters())
    for name in head:
        if name.endswith("weight") and "norm" not in name and weights[name].shape == before[name].shape:
            assert not torch.equal(weights[name], before[name]), name
        if name.endswith("bias"):
            assert not weights[name].any(), name
    assert model(input_ids=ids_of(8)).logits.shape == (2, len(labels))


def test_a_head_of_another_task_is_not_taken_for_this_one(tmp_path: Path) -> None:
    encoder(tmp_path, "bert", "tagging")
    model = loaded(tmp_path, TASK)
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight"} <= set(model.new_weights)


def test_a_span_has_two_ends_whatever_there_was_before(tmp_path: Path) -> None:
    encoder(tmp_path, "bert", "classification")
    model = loaded(tmp_path, Purpose("span_extraction"))
    assert model(input_ids=ids_of(8)).start_logits.shape == (2, 8)
    assert model.new_weights == ["qa_outputs.bias", "qa_outputs.weight"]
    model.save_pretrained(tmp_path / "spans")
    assert loaded(tmp_path / "spans", Purpose("span_extraction"), complete=True).new_weights == []


def test_a_regression_is_kept_and_a_classification_is_not_taken_for_one(tmp_path: Path) -> None:
    kept = loaded(encoder(tmp_path / "kept", objective="regression"), Purpose("regression"))
    assert kept.new_weights == [] and kept.config.problem_type == "regression"
    other = loaded(encoder(tmp_path / "other", objective="classification"), Purpose("regression"))
    assert other.new_weights == ["classifier.bias", "classifier.weight"]
    assert other(input_ids=ids_of(8)).logits.shape == (2, 1)


@pytest.mark.parametrize(
    ("purpose", "message"),
    [
        (Purpose("denoise"), "this is not an encoder–decoder"),
        (Purpose("plm"), "this is not an XLNet language model"),
        (Purpose("rtd"), "the folder holds none"),
        (Purpose("mlm", next_sentence_prediction=True), "only BERT predicts next sentences"),
    ],
)
def test_a_model_of_another_kind_is_refused(purpose: Purpose, message: str, tmp_path: Path) -> None:
    folder = encoder(tmp_path, "modernbert")
    with pytest.raises(ModelError, match=message):
        load_model(at(folder), purpose)


def test_a_decoder_cannot_be_what_an_encoder_is(tmp_path: Path) -> None:
    encoder(tmp_path, "t5", "denoise")
    with pytest.raises(ModelError, match="this is not a masked language model"):
        load_model(at(tmp_path), Purpose("mlm"))


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    encoder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_model(at(tmp_path), TASK)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"pickled \(pytorch_model\.bin\)"):
        load_model(at(tmp_path), TASK)
    # An optimiser's state beside them is no model.
    save_file({"0.step": torch.ones(1)}, tmp_path / "optimizer.safetensors")
    with pytest.raises(ModelError, match="pickled"):
        load_model(at(tmp_path), TASK)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    file = encoder(tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_model(at(tmp_path), TASK)
    file.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        load_model(at(tmp_path), TASK)


@pytest.mark.parametrize("part", ["", "generator"])
def test_a_checkpoint_must_hold_all_weights(part: str, tmp_path: Path) -> None:
    encoder(tmp_path, "electra", "rtd")
    file = tmp_path / part / "model.safetensors"
    tensors = load_file(file)
    del tensors["electra.encoder.layer.1.output.dense.bias"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights: .*layer\.1\.output\.dense\.bias"):
        load_model(at(tmp_path), Purpose("rtd"), complete=True)


def test_folders_and_names_that_are_none(tmp_path: Path) -> None:
    for name, message in (
        (str(tmp_path / "nowhere"), "no such model folder"),
        (str(tmp_path), r"holds no config\.json"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(at(name), TASK)


@pytest.mark.parametrize(("family", "objective"), [("bert", "mlm"), ("electra", "rtd"), ("t5", "denoise")])
def test_dropout_is_the_recipes_where_it_says_so(family: str, objective: Any, tmp_path: Path) -> None:
    model_of(family, objective, dropout=0.2).save_pretrained(tmp_path)

    def rates(value: float | None, complete: bool = False) -> set[float]:
        model = load_model(at(tmp_path, dropout=value), Purpose(objective), complete=complete)
        return {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)}

    assert rates(None) == {0.2}
    assert rates(0.0) == {0.0}
    # A run that goes on keeps what its checkpoint says.
    assert rates(0.0, complete=True) == {0.2}
