"""Recipes: presets, `extends`, overrides, and what is said about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench import recipe
from workbench.errors import RecipeError
from workbench.recipe import Recipe, yaml_file
from workbench.recipe.load import all_keys

PRESETS = [preset.name for preset in recipe.list_presets("runs")]
MODEL_PRESETS = [f"models/{preset.name}" for preset in recipe.list_presets("models")]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", [*PRESETS, *MODEL_PRESETS])
def test_every_preset_is_a_valid_recipe_with_a_description(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.model.vocab_size > 0
    assert recipe.find_preset(name).read_text().startswith("# ")


def test_overrides_reach_into_sections_and_lists() -> None:
    loaded = recipe.load(
        "nano",
        [
            "training.learning_rate=1e-4",
            "data.sources=[a.txt, {path: b.txt, weight: 2}]",
            "data.sources.0.limit=3",
        ],
    )
    assert loaded.training.learning_rate == 1e-4
    assert [(s.path, s.weight, s.limit) for s in loaded.data.sources] == [
        ("a.txt", 1.0, 3),
        ("b.txt", 2.0, None),
    ]


@pytest.mark.parametrize("text", ["stdlib:", "[stdlib:]", "['stdlib:']", "{path: 'stdlib:'}"])
def test_stdlib_needs_no_quotes(text: str) -> None:
    assert [s.path for s in recipe.load("nano", [f"data.sources={text}"]).data.sources] == ["stdlib:"]


def test_a_single_source_may_be_written_as_a_word() -> None:
    assert recipe.load("nano", ["data.sources=x.txt"]).data.sources[0].path == "x.txt"


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("training.lerning_rate=1", "no key “lerning_rate” in section “training”", "training.learning_rate"),
        ("learning_rate=1", "no key “learning_rate”", "training.learning_rate"),
        ("data.sources.0.wieght=2", "no key “wieght”", "data.sources.0.weight"),
        ("traning.seed=1", "no key “traning”", "training"),
        ("training.learning_rate=fast", "should be a valid number", "Peak learning rate"),
        ("training.max_steps=1.5", "valid integer", "Optimiser steps"),
        ("training.max_steps=0", "greater than or equal to 1", ""),
        (
            "model.num_attention_heads=5",
            "hidden_size 128 is not divisible by num_attention_heads 5; 4 heads",
            "",
        ),
        ("model.num_key_value_heads=3", "not divisible by num_key_value_heads 3", ""),
        ("data.max_length=100000", "longer than model.max_position_embeddings", ""),
        ("data.sources.7.path=x", "no item of a list of 1", "count from 0"),
        ("training.seed", "not an override", "section.key=value"),
        ("training.seed=[1", "not valid YAML", ""),
        ("run.name=../evil", "should match pattern", "Name of the run"),
        (
            "training=fast",
            "“training” takes keys, not the value 'fast'",
            "write training.seed=…; it knows seed, ",
        ),
        (
            "model.rope_scaling.factor=2",
            "“rope_scaling” holds no mapping",
            "model.rope_scaling={factor: 2, …}",
        ),
    ],
)
def test_mistakes_are_explained(override: str, message: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.load("nano", [override])
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_both_precisions_at_once_are_refused() -> None:
    with pytest.raises(RecipeError, match="choose one"):
        recipe.load("nano", ["training.bf16=true", "training.fp16=true"])


def test_extends_merges_and_the_file_wins(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "training: {seed: 7, learning_rate: 5e-4}\nmodel: {hidden_size: 64}\n")
    child = write(tmp_path / "child.yaml", "extends: base.yaml\n\ntraining:\n  seed: 8\n")
    loaded = recipe.load(child)
    assert (loaded.training.seed, loaded.training.learning_rate, loaded.model.hidden_size) == (8, 5e-4, 64)


def test_extending_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml")
    write(tmp_path / "b.yaml", "extends: a.yaml")
    with pytest.raises(RecipeError, match="circle: a.yaml → b.yaml → a.yaml"):
        recipe.load(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "a recipe is a mapping"),
        ("training: [\n", "not valid YAML"),
        ("training:\n  seed: 1\n  seed: 2\n", "stands twice"),
        ("training: 3\n", "training"),
        ("extends: {a: b}\n", "takes a preset"),
    ],
)
def test_broken_files_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.load(write(tmp_path / "broken.yaml", text))
    assert message in caught.value.message


def test_a_binary_file_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not a text file"):
        recipe.load(str(path))


def test_missing_files_and_presets(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe file"):
        recipe.load(str(tmp_path / "none.yaml"))
    with pytest.raises(RecipeError) as caught:
        recipe.load("quickstrat")
    assert "quickstart" in caught.value.hint


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    assert recipe.load(write(tmp_path / "r.yaml", "training:\n")).training.seed == 42


def test_the_users_presets_come_first(home: Path) -> None:
    folder = home / "presets" / "runs"
    folder.mkdir(parents=True)
    (folder / "nano.yaml").write_text("# mine\nextends: models/nano\ntraining: {seed: 99}\n")
    assert recipe.load("nano").training.seed == 99
    mine = next(preset for preset in recipe.list_presets() if preset.name == "nano")
    assert (mine.description, mine.builtin) == ("mine", False)


@pytest.mark.parametrize("name", PRESETS)
def test_a_dumped_recipe_reads_back_the_same(name: str, tmp_path: Path) -> None:
    original = recipe.load(name, ["run.description='1e-4 no: [x]'", "training.learning_rate=1e-5"])
    again = recipe.load(write(tmp_path / "resolved.yaml", recipe.dump(original)))
    assert again == original
    assert recipe.difference(again, original) == []


def test_difference_names_the_keys() -> None:
    assert recipe.difference(recipe.load("nano", ["training.seed=1"]), recipe.load("nano")) == [
        ("training.seed", 1, 42)
    ]


def test_the_schema_describes_every_key() -> None:
    schema = Recipe.model_json_schema()
    json.dumps(schema)
    for key in all_keys():
        section, _, name = key.partition(".")
        definition = schema["$defs"][schema["properties"][section]["$ref"].rpartition("/")[2]]
        assert definition["properties"][name]["description"], key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("0x10", 16),
        ("1_000", 1000),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("", None),
        ("~", None),
        ("1e", "1e"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("[a, 1e-3]", ["a", 1e-3]),
    ],
)
def test_scalars_read_as_people_expect(text: str, value: object) -> None:
    parsed = yaml_file.parse(text, "here")
    assert parsed == value and type(parsed) is type(value)


def test_yaml_cannot_make_objects() -> None:
    with pytest.raises(RecipeError):
        yaml_file.parse("!!python/object/apply:os.system ['true']", "here")


def test_presets_are_listed_by_size_and_ones_own_after_them(home: Path) -> None:
    folder = home / "presets" / "runs"
    folder.mkdir(parents=True)
    (folder / "aaa.yaml").write_text("# mine\nextends: nano\n")
    names = [preset.name for preset in recipe.list_presets()]
    decoders = ["quickstart", "nano", "nano-window", "nano-linear", "micro", "mini", "small", "125m", "350m"]
    others = ["bert-nano", "modernbert-nano", "electra-nano", "xlnet-nano", "t5-nano", "bart-nano"]
    sentiment = [f"sentiment-{method}" for method in ("prompt", "prefix", "lora", "full")]
    tuned = ["classify", "regress", "tag", "span", "sft", "reward", "dpo", "ppo", "rloo", "extend"]
    assert names == [*decoders, *others, *tuned, *sentiment, "aaa"]
