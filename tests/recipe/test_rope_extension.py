"""The keys of a recipe that stretch rotary positions: what they take, and what is refused with what is
right."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import RecipeError
from workbench.recipe import load, validate

YARN = {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 128, "beta_fast": 16}


def test_the_mapping_of_transformers_means_the_same_as_keys_of_ones_own() -> None:
    flat = load(
        "nano",
        [
            "model.rope_scaling=yarn",
            "model.rope_factor=4",
            "model.original_max_position_embeddings=128",
            "model.rope_beta_fast=16",
            "data.max_length=512",
        ],
    )
    nested = validate({"model": {"rope_scaling": YARN}, "data": {"max_length": 512}}, "here")
    assert nested.model.rope_extension == flat.model.rope_extension
    assert flat.model.context == 512 and load("nano").model.context == 256
    # What is set beside a mapping was set later.
    beside = validate({"model": {"rope_scaling": YARN, "rope_factor": 8}}, "here")
    assert beside.model.rope_factor == 8
    assert validate(flat.model_dump(mode="json"), "again") == flat
    # As a configuration of transformers has it.
    based = validate({"model": {"rope_scaling": {**YARN, "rope_theta": 5e5}}}, "here")
    assert based.model.rope_theta == 5e5 and based.model.rope_extension == nested.model.rope_extension
    words = "model.rope_scaling={rope_type: yarn, factor: 4, rope_theta: 500000.0}"
    assert load("nano", [words]).model.rope_theta == 5e5
    plain = validate({"model": {"rope_scaling": {"rope_type": "default", "rope_theta": 5e5}}}, "here")
    assert plain.model.rope_theta == 5e5 and plain.model.rope_extension is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rope_scaling": "yarn"}, "needs rope_factor, how many times longer: 4 makes 256 tokens 1,024"),
        ({"rope_factor": 4}, "rope_factor says how far positions are stretched, and rope_scaling not how"),
        (
            {"rope_scaling": "yarn", "rope_factor": 0.25},
            "would shorten the context; 1 leaves it, 4 lengthens it",
        ),
        ({"rope_scaling": "yarn", "rope_factor": 5000}, "more than 1024"),
        ({"rope_scaling": "ntk", "rope_factor": 2, "rope_beta_fast": 8}, "belongs to rope_scaling yarn"),
        (
            {"rope_scaling": "yarn", "rope_factor": 2, "rope_beta_slow": 40},
            "must be more than rope_beta_slow",
        ),
        ({"rope_scaling": {"rope_type": "yarn", "factr": 2}}, "knows no key “factr”"),
        (
            {"rope_scaling": {"rope_type": "yarn", "rope_theta": 5e5}, "model_name_or_path": "somewhere"},
            "rope_theta is the loaded model's own",
        ),
        (
            {"rope_scaling": {"rope_theta": 5e5}, "rope_theta": 1e6},
            "1000000.0 beside it; leave one of them out",
        ),
        ({"rope_scaling": "yarn", "rope_factor": 2, "attention": "sliding_window"}, "no distance among them"),
        ({"rope_scaling": "linear", "rope_factor": 2, "family": "bert"}, "BERT has a learned table"),
        ({"rope_scaling": "linear", "rope_factor": 2, "family": "t5"}, "T5 has biases by distance"),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        validate({"model": keys}, "here")


def test_rows_may_be_as_long_as_the_stretched_context_and_no_longer() -> None:
    given = ["model.rope_scaling=linear", "model.rope_factor=1.5"]
    assert load("nano", [*given, "data.max_length=384"]).model.context == 384
    with pytest.raises(RecipeError, match="385 is longer than the stretched context 384"):
        load("nano", [*given, "data.max_length=385"])
