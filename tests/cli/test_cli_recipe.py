"""`workbench recipe …`, and what is said of recipes that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.cli.recipes import describe_keys
from workbench.cli.train import stem_of
from workbench.recipe import Recipe, load
from workbench.recipe.load import all_keys

Capture = pytest.CaptureFixture[str]


def test_list_names_presets_with_descriptions(home: Path, capsys: Capture) -> None:
    (home / "presets" / "runs").mkdir(parents=True)
    (home / "presets" / "runs" / "mine.yaml").write_text("# My \x1b[31mown.\nextends: nano\n")
    assert main(["recipe", "list"]) == 0
    out = capsys.readouterr().out
    assert "mine" in out and "yours" in out and r"My \x1b[31mown." in out
    assert main(["recipe", "list", "--json"]) == 0
    names = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (
        names["nano"]["builtin"] and not names["mine"]["builtin"] and names["models/nano"]["kind"] == "models"
    )


def test_show_prints_a_recipe_that_loads_again(tmp_path: Path, capsys: Capture) -> None:
    for options in ([], ["--changed"]):
        assert main(["recipe", "show", "nano", "training.max_steps=7", *options, "data.max_length=64"]) == 0
        saved = tmp_path / "again.yaml"
        saved.write_text(capsys.readouterr().out)
        assert load(str(saved)) == load("nano", ["training.max_steps=7", "data.max_length=64"])


def test_show_as_json(capsys: Capture) -> None:
    assert main(["recipe", "show", "nano", "--json"]) == 0
    assert Recipe.model_validate(json.loads(capsys.readouterr().out)) == load("nano")


def test_schema_is_the_schema_of_a_recipe(capsys: Capture) -> None:
    assert main(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == Recipe.model_json_schema()


def test_keys_are_all_keys_with_help(capsys: Capture) -> None:
    assert [row["key"] for row in describe_keys()] == all_keys()
    assert all(row["help"] for row in describe_keys())
    assert main(["recipe", "keys", "lr_scheduler"]) == 0
    assert "training.lr_scheduler_type  cosine | linear | constant | wsd" in capsys.readouterr().out
    assert main(["recipe", "keys", "warmup_stps"]) == 2
    assert "did you mean warmup_steps?" in capsys.readouterr().err


def test_check(capsys: Capture) -> None:
    assert main(["recipe", "check", "nano"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["recipe", "check", "nano", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "error": None}
    assert main(["recipe", "check", "nano", "training.seed=-1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["title"] == "Recipe"


@pytest.mark.parametrize("command", [["train"], ["recipe", "check"], ["recipe", "show"]])
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["nano", "training.learnig_rate=1"],
            ["no key “learnig_rate”", "did you mean training.learning_rate?"],
        ),
        (["nano", "training.max_steps=many"], ["training.max_steps", "not 'many'"]),
        (["nanno"], ["no preset called “nanno”", "did you mean nano?"]),
        (["missing.yaml"], ["no such recipe file", "missing.yaml"]),
        (["nano", "max_steps"], ["“max_steps” is not an override", "section.key=value"]),
        (["nano", "model.hidden_size=130"], ["divisible"]),
    ],
)
def test_recipes_that_cannot_be_used(
    command: list[str], arguments: list[str], parts: list[str], home: Path, capsys: Capture
) -> None:
    assert main([*command, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(part in err for part in parts)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("home_path", ["{tmp}/file/home", "/proc/workbench"])
def test_a_home_that_cannot_be_written(home_path: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    assert main(["train", "nano", "--home", home_path.format(tmp=tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Storage: ") and "Traceback" not in err


@pytest.mark.parametrize(
    ("recipe", "stem"),
    [("nano", "nano"), ("runs/nano", "nano"), ("/a/my recipe.yaml", "my-recipe"), ("./☃.yaml", "run")],
)
def test_runs_are_called_after_their_recipe(recipe: str, stem: str) -> None:
    assert stem_of(recipe) == stem
