"""New models have the shapes of their papers, the ids of their tokenizer, and the head of their purpose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from tiny_models import CASES, LABELS, FakeTokenizer, model_of, purpose_of, section_of, size_of

from workbench import recipe
from workbench.errors import ModelError
from workbench.models.build import build_model
from workbench.models.configs import config_of
from workbench.models.purpose import Purpose
from workbench.recipe.families import FAMILIES

CLASSES = {
    ("llama", "clm"): "LlamaForCausalLM",
    ("bert", "mlm"): "BertForMaskedLM",
    ("bert", "classification"): "BertForSequenceClassification",
    ("modernbert", "mlm"): "ModernBertForMaskedLM",
    ("modernbert", "tagging"): "ModernBertForTokenClassification",
    ("electra", "mlm"): "ElectraForMaskedLM",
    ("electra", "rtd"): "ReplacedTokenModel",
    ("electra", "regression"): "ElectraForSequenceClassification",
    ("xlnet", "plm"): "XLNetLMHeadModel",
    ("xlnet", "span_extraction"): "XLNetForQuestionAnsweringSimple",
    ("t5", "denoise"): "T5ForConditionalGeneration",
    ("bart", "denoise"): "BartForConditionalGeneration",
}


def preset_model(name: str) -> Any:
    wanted = recipe.load(f"models/{name}")
    tokenizer: Any = FakeTokenizer(10)
    with torch.device("meta"):
        return build_model(wanted.model, tokenizer, purpose_of(wanted.objective.name))


# transformers' own configurations, whose defaults or published values are those of the papers.
PUBLISHED: dict[str, tuple[str, Any]] = {
    "bert-base": ("BertForMaskedLM", lambda: transformers.BertConfig()),
    "modernbert-base": ("ModernBertForMaskedLM", lambda: transformers.ModernBertConfig()),
    "t5-small": ("T5ForConditionalGeneration", lambda: transformers.T5Config()),
    "xlnet-base": (
        "XLNetLMHeadModel",
        lambda: transformers.XLNetConfig(d_model=768, n_layer=12, n_head=12, d_inner=3072),
    ),
    "bart-base": (
        "BartForConditionalGeneration",
        lambda: transformers.BartConfig(
            d_model=768,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            encoder_ffn_dim=3072,
            decoder_ffn_dim=3072,
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_sizes_of_transformers_own_configurations(name: str) -> None:
    kind, config = PUBLISHED[name]
    with torch.device("meta"):
        theirs = getattr(transformers, kind)(config())
    ours = preset_model(name)
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
    assert size_of(ours) == size_of(theirs)


@pytest.mark.parametrize(
    ("name", "parameters"), [("t5-small", 60_506_624), ("t5-base", 222_903_552), ("bart-base", 139_420_416)]
)
def test_presets_have_the_sizes_that_are_published(name: str, parameters: int) -> None:
    assert size_of(preset_model(name)) == parameters


def test_the_discriminator_of_electra_small_is_that_of_transformers() -> None:
    with torch.device("meta"):
        theirs = transformers.ElectraForPreTraining(transformers.ElectraConfig())
    assert size_of(preset_model("electra-small").discriminator) == size_of(theirs) == 13_549_057


@pytest.mark.parametrize("name", [preset.name for preset in recipe.list_presets("models")])
def test_the_first_line_of_a_preset_says_its_size(name: str) -> None:
    (line,) = [preset.description for preset in recipe.list_presets("models") if preset.name == name]
    words = line.replace("–", " ").split()
    said = words[words.index("million") - 1]
    decimals = len(said.partition(".")[2])
    assert f"{size_of(preset_model(name)) / 1e6:.{decimals}f}" == said, line


def test_every_family_has_a_preset_for_a_laptop() -> None:
    small = [preset.name for preset in recipe.list_presets("models") if preset.name.endswith("nano")]
    assert {recipe.load(f"models/{name}").model.family for name in small} == set(FAMILIES)
    for name in small:
        assert 0.5e6 < size_of(preset_model(name)) < 3e6, name


@pytest.mark.parametrize(("family", "objective"), CLASSES)
def test_the_purpose_decides_the_class(family: str, objective: str) -> None:
    assert type(model_of(family, objective)).__name__ == CLASSES[family, objective]


def test_next_sentence_prediction_is_berts() -> None:
    tokenizer: Any = FakeTokenizer()
    purpose = Purpose("mlm", next_sentence_prediction=True)
    model: Any = build_model(section_of("bert"), tokenizer, purpose)
    assert type(model) is transformers.BertForPreTraining
    with pytest.raises(ModelError, match="only BERT"):
        build_model(section_of("modernbert"), tokenizer, purpose)


@pytest.mark.parametrize(
    ("family", "objective"), [("bert", "clm"), ("t5", "classification"), ("bert", "rtd")]
)
def test_an_objective_that_does_not_fit_is_refused(family: str, objective: str) -> None:
    with pytest.raises(ModelError, match=f"{family} is not trained by {objective}") as caught:
        model_of(family, objective)
    assert FAMILIES[family].objectives[0] in caught.value.hint


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_configurations_carry_ids_and_labels(family: str, objective: str) -> None:
    tokenizer: Any = FakeTokenizer()
    config: Any = config_of(section_of(family), tokenizer, purpose_of(objective))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(config, name) == getattr(tokenizer, name)
    assert config.vocab_size == len(tokenizer)
    if objective in ("classification", "tagging"):
        assert config.id2label == dict(enumerate(LABELS)) and config.label2id["pear"] == 1
    if objective == "regression":
        assert (config.num_labels, config.problem_type) == (1, "regression")
    if family in ("t5", "bart"):
        start = "pad_token_id" if family == "t5" else "eos_token_id"
        assert config.decoder_start_token_id == getattr(tokenizer, start)


@pytest.mark.parametrize("dropout", [None, 0.25])
@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_none_or_the_sections_everywhere(family: str, dropout: float | None) -> None:
    objective: Any = FAMILIES[family].objectives[-1]
    model = model_of(family, objective, dropout=dropout)
    rates = {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)}
    named = {
        value
        for key, value in model.config.to_dict().items()
        if "dropout" in key or key.endswith("_drop")
        if isinstance(value, float) and key != "activation_dropout"
    }
    assert rates | named <= {dropout or 0.0}
    assert named == {dropout or 0.0}


def test_weights_come_from_torchs_generator() -> None:
    one, same, other = (model_of("electra", "rtd", seed) for seed in (3, 3, 4))
    pairs = zip(one.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)


@pytest.mark.parametrize(("layers", "kinds"), [(1, "f"), (4, "fssf"), (5, "fssfs")])
def test_layers_of_modernbert_are_global_or_local(layers: int, kinds: str) -> None:
    model = model_of("modernbert", "mlm", num_hidden_layers=layers)
    assert "".join(kind[0] for kind in model.config.layer_types) == kinds
    assert len(model.model.layers) == layers


def test_the_generator_is_narrower_and_shares_its_embeddings() -> None:
    pair = model_of("electra", "rtd", hidden_size=64, embedding_size=24, intermediate_size=200)
    assert pair.generator.config.hidden_size == 16 and pair.generator.config.num_attention_heads == 1
    assert pair.generator.config.intermediate_size == 50
    ours, theirs = pair.discriminator.electra.embeddings, pair.generator.electra.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        assert getattr(ours, name).weight is getattr(theirs, name).weight
    assert pair.get_output_embeddings().weight is pair.get_input_embeddings().weight
    shared = sum(
        getattr(ours, f"{name}_embeddings").weight.numel() for name in ("word", "position", "token_type")
    )
    assert size_of(pair) == size_of(pair.generator) + size_of(pair.discriminator) - shared
