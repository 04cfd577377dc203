"""What is saved and loaded answers bit for bit the same, here and in plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CASES, FakeTokenizer, answer_of, at, ids_of, model_of, purpose_of, section_of
from transformers import ElectraForMaskedLM, ElectraForPreTraining

from workbench.errors import ModelError
from workbench.models.build import build_model
from workbench.models.load import load_model
from workbench.models.purpose import Purpose
from workbench.models.replaced_token import GENERATOR, ReplacedTokenModel

SINGLE = [case for case in CASES if case[1] != "rtd"]


@pytest.mark.parametrize(("family", "objective"), SINGLE)
def test_a_saved_model_answers_the_same(family: str, objective: str, tmp_path: Path) -> None:
    model, ids = model_of(family, objective), ids_of(20)
    model.save_pretrained(tmp_path)
    loaded: Any = load_model(at(tmp_path), purpose_of(objective), complete=True)
    assert type(loaded) is type(model) and loaded.new_weights == []
    assert {weights.dtype for weights in loaded.parameters()} == {torch.float32}
    assert torch.equal(answer_of(loaded.eval(), ids), answer_of(model, ids))
    # Plain transformers maps the file: the same weights at other addresses, where a sum may round otherwise.
    plain = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(answer_of(plain, ids), answer_of(model, ids), rtol=1e-5, atol=1e-6)


def test_a_saved_model_with_both_of_berts_heads_answers_the_same(tmp_path: Path) -> None:
    tokenizer: Any = FakeTokenizer()
    purpose = Purpose("mlm", next_sentence_prediction=True)
    model: Any = build_model(section_of("bert"), tokenizer, purpose).eval()
    model.save_pretrained(tmp_path)
    loaded: Any = load_model(at(tmp_path), purpose, complete=True)
    assert torch.equal(answer_of(loaded.eval(), ids_of(20)), answer_of(model, ids_of(20)))


def test_untied_embeddings_stay_untied(tmp_path: Path) -> None:
    model = model_of("llama", "clm", tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    loaded: Any = load_model(at(tmp_path), complete=True)
    output = loaded.get_output_embeddings().weight
    assert output is not loaded.get_input_embeddings().weight
    assert torch.equal(output, model.get_output_embeddings().weight)


def test_t5_is_tied_and_scaled_whatever_the_recipe_says(tmp_path: Path) -> None:
    model, ids = model_of("t5", "denoise", tie_word_embeddings=False), ids_of(20)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    loaded: Any = load_model(at(tmp_path), purpose_of("denoise"), complete=True)
    assert loaded.config.scale_decoder_outputs
    assert torch.equal(answer_of(loaded.eval(), ids), answer_of(model, ids))


def test_weights_lie_at_even_addresses(tmp_path: Path) -> None:
    model_of("bert", "regression").save_pretrained(tmp_path)
    loaded = load_model(at(tmp_path), purpose_of("regression"))
    assert all(weights.data_ptr() % 64 == 0 for weights in loaded.parameters())


def same_ties(pair: ReplacedTokenModel) -> bool:
    ours, theirs = pair.discriminator.electra.embeddings, pair.generator.electra.embeddings
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    tied = all(getattr(ours, name).weight is getattr(theirs, name).weight for name in names)
    return tied and pair.get_output_embeddings().weight is pair.get_input_embeddings().weight


@pytest.mark.parametrize("embedding_size", [None, 24])
def test_a_pair_keeps_its_weights_and_ties(tmp_path: Path, embedding_size: int | None) -> None:
    pair: ReplacedTokenModel = model_of("electra", "rtd", embedding_size=embedding_size)
    optimizer = torch.optim.SGD(pair.parameters(), 0.1)
    ids = ids_of(16)
    for part in (pair.generator, pair.discriminator):
        part(input_ids=ids).logits.square().mean().backward()
    optimizer.step()
    pair.save_pretrained(tmp_path)
    for loaded in (
        load_model(at(tmp_path), Purpose("rtd"), complete=True),
        ReplacedTokenModel.from_pretrained(tmp_path),
    ):
        assert isinstance(loaded, ReplacedTokenModel) and same_ties(loaded)
        ours, theirs = pair.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_parts_of_a_pair_load_in_plain_transformers(tmp_path: Path) -> None:
    pair, ids = model_of("electra", "rtd"), ids_of(16)
    pair.save_pretrained(tmp_path)
    kinds: dict[Path, Any] = {tmp_path: ElectraForPreTraining, tmp_path / GENERATOR: ElectraForMaskedLM}
    for folder, kind in kinds.items():
        plain, info = kind.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        part = pair.discriminator if kind is ElectraForPreTraining else pair.generator
        torch.testing.assert_close(answer_of(plain.eval(), ids), answer_of(part, ids), rtol=1e-5, atol=1e-6)


def test_a_discriminator_alone_cannot_go_on(tmp_path: Path) -> None:
    model_of("electra", "rtd").discriminator.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the folder holds none") as caught:
        load_model(at(tmp_path), Purpose("rtd"))
    assert "generator/" in caught.value.hint


def test_a_pair_recomputes_activations_in_both() -> None:
    pair = model_of("electra", "rtd").train()
    pair.activation_checkpointing_enable({"use_reentrant": False})
    assert pair.generator.is_activation_checkpointing and pair.discriminator.is_activation_checkpointing
