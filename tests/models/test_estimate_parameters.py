"""Counts of weights against the models that are really built."""

from __future__ import annotations

import random
from typing import Any

import pytest
from estimate_cases import CASES, model_of, random_shape, recipe_of

from workbench import recipe
from workbench.models.adapt import adapt
from workbench.models.estimate.parameters import Parameters, count
from workbench.models.estimate.shape import Shape, shape_of, shape_of_config
from workbench.models.purpose import Purpose
from workbench.recipe import TuningSection

SHAPES = 12


def ignore_peft(test: Any) -> Any:
    """PEFT itself uses what transformers has deprecated, and warns of tied layers."""
    test = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")(test)
    return pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning")(test)


def counted(wanted: recipe.Recipe, labels: int = 2) -> Parameters:
    shape, _ = shape_of(wanted, labels)
    assert shape is not None
    return count(shape, wanted.tuning)


def built(model: Any) -> dict[str, int]:
    """Weights of a model by component, told by their names."""
    found: dict[str, int] = {}
    for name, weights in model.named_parameters():
        found[component(name)] = found.get(component(name), 0) + weights.numel()
    return found


def component(name: str) -> str:
    words = name.lower()
    if any(word in words for word in ("word_emb", "tok_emb", "embed_tokens", "shared", "mask_emb")):
        return "token_embeddings"
    if "position" in words or "relative_attention_bias" in words:
        return "position_embeddings"
    if "token_type" in words or "seg_embed" in words:
        return "segment_embeddings"
    if words.startswith("generator.") and "discriminator" not in words:
        return "generator"
    outside = (
        "classifier",
        "qa_out",
        "cls.",
        "lm_head",
        "lm_loss",
        "generator_pred",
        "generator_lm",
        "head.",
    )
    if words.startswith((*outside, "decoder.bias", "sequence_summary", "logits_proj")) or "pooler" in words:
        return "head"
    if "discriminator_predictions" in words:
        return "head"
    if "embeddings_project" in words:
        return "projection"
    if "norm" in words:
        return "norms"
    feed_forward = ("mlp", "intermediate", "densereludense", "fc1", "fc2", ".ff.")
    if any(word in words for word in feed_forward) or (".output.dense" in words and "attention" not in words):
        return "feed_forward"
    return "attention"


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_every_component_of_random_shapes_is_exact(family: str, objective: str) -> None:
    generator = random.Random(f"{family} {objective}")
    for _ in range(SHAPES):
        labels = generator.randint(2, 9)
        wanted = recipe_of(family, objective, **random_shape(family, generator))
        found = counted(wanted, labels)
        model = model_of(wanted, labels)
        components = {name: value for name, value in found.components().items() if value}
        assert components == {name: value for name, value in built(model).items() if value}, wanted.model
        assert found.total == found.trainable == sum(p.numel() for p in model.parameters())


def test_next_sentence_prediction_has_a_pooler_and_a_head() -> None:
    wanted = recipe_of("bert", "mlm", hidden_size=36, num_attention_heads=3)
    wanted.objective.next_sentence_prediction = True
    assert counted(wanted).total == sum(p.numel() for p in model_of(wanted).parameters())


@pytest.mark.parametrize("preset", [preset.name for preset in recipe.list_presets("models")])
def test_every_preset_is_exact(preset: str) -> None:
    wanted = recipe.load(f"models/{preset}")
    assert counted(wanted).total == sum(p.numel() for p in model_of(wanted).parameters())


@ignore_peft
@pytest.mark.parametrize(("family", "objective"), [case for case in CASES if case[1] not in ("rtd", "plm")])
@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_what_learns_is_exact(family: str, objective: str, method: str) -> None:
    wanted = recipe_of(family, objective, **random_shape(family, random.Random(f"{family} {method}")))
    shape, _ = shape_of(wanted, 3)
    assert shape is not None
    if method == "frozen" and not shape.is_task:
        return
    tuning = TuningSection(method=method, r=3)
    purpose = Purpose(wanted.objective.name, ("a", "b", "c"))
    model = adapt(model_of(wanted, 3), tuning, purpose)
    found = count(shape, tuning)
    assert found.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.total == sum(p.numel() for p in model.parameters())


@ignore_peft
def test_named_target_modules_are_the_only_ones_adapted() -> None:
    wanted = recipe_of("llama", "clm", num_key_value_heads=2)
    shape, _ = shape_of(wanted)
    assert shape is not None
    tuning = TuningSection(method="lora", r=5, target_modules=["q_proj", "v_proj"])
    model = adapt(model_of(wanted), tuning, Purpose("clm"))
    assert count(shape, tuning).trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_a_configuration_gives_the_same_shape(family: str, objective: str) -> None:
    generator = random.Random(f"{family} {objective} configuration")
    for _ in range(SHAPES // 3):
        wanted = recipe_of(family, objective, **random_shape(family, generator))
        model = model_of(wanted)
        pair = getattr(model, "generator", None)
        read = shape_of_config(
            model.config.to_dict(), wanted.objective.name, None if pair is None else pair.config.to_dict()
        )
        expected, _ = shape_of(wanted)
        assert expected is not None
        assert _comparable(read) == _comparable(expected)


def _comparable(shape: Shape) -> tuple[object, ...]:
    # A configuration of T5 or XLNet does not say how long its rows may be: it has no such weights.
    positions = 0 if shape.family in ("t5", "xlnet") else shape.positions
    segments = shape.segments if shape.family in ("bert", "electra") else 0
    return (
        shape.main,
        shape.decoder,
        shape.generator,
        shape.vocabulary,
        shape.embedding,
        positions,
        segments,
    )
