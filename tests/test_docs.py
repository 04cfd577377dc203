"""The README says what there is: commands, presets and their sizes, paths, the two command lines."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench import recipe
from workbench.cli.parser import Parser, build
from workbench.inference.servers import configured
from workbench.models.build import build_model
from workbench.models.purpose import Purpose
from workbench.prompting.prompts import load_prompt
from workbench.training.checkpoint import STATE_FILE

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def command_lines(parser: Parser, prefix: str = "workbench") -> list[str]:
    """Every command that does something, as it is typed."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return [
                line
                for name, sub in action.choices.items()
                for line in command_lines(sub, f"{prefix} {name}")
            ]
    return [prefix]


@pytest.mark.parametrize("line", command_lines(build()))
def test_every_command_is_documented(line: str) -> None:
    assert f"`{line}" in README


def test_no_command_is_documented_that_is_not_there() -> None:
    known = command_lines(build())
    for line in re.findall(r"^\| `(workbench [^`]*)`", README, re.MULTILINE):
        words = [word for word in line.split() if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
        assert " ".join(words) in known, line


class FakeTokenizer:
    """As much of a tokenizer as building a model needs."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __len__(self) -> int:
        return 10


@pytest.mark.parametrize("preset", [preset.name for preset in recipe.list_presets("runs")])
def test_every_preset_is_documented_with_the_size_it_has(preset: str) -> None:
    row = re.search(rf"^\|(?: `[\w-]+`)* `{preset}`(?: `[\w-]+`)* \| ([\d.]+) M \|", README, re.MULTILINE)
    assert row, f"the table of presets lacks {preset}"
    found = recipe.load(preset)
    if found.model.model_name_or_path:
        return  # its size is that of whatever model is named
    with torch.device("meta"):
        tokenizer: Any = FakeTokenizer()
        model = build_model(found.model, tokenizer, Purpose(found.objective.name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(float(row[1]), abs=0.06)


def test_files_in_the_readme_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("BOX_KEY", "secret")
    kinds = []
    for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL):
        kind = "servers" if "servers:" in text else "prompt" if "\nuser:" in text else "recipe"
        path = tmp_path / f"{kind}.yaml"
        path.write_text(text)
        if kind == "servers":
            assert len(configured()) == 2
        elif kind == "prompt":
            assert load_prompt(str(path)).variables
        else:
            recipe.load(str(path))
        kinds.append(kind)
    assert {"servers", "prompt", "recipe"} <= set(kinds)


def test_files_that_the_readme_names_exist() -> None:
    for path in re.findall(r"\]\((\.?[\w./-]+)\)", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:workbench|tests|presets|kernels)/[\w./]*)`", README):
        assert (ROOT / path).exists(), path
    assert STATE_FILE == "trainer_state.json"


def test_ci_runs_the_readmes_own_test_command() -> None:
    assert "<!-- tests -->\n```sh\n" in README and "<!-- main job -->\n```sh\n" in README
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text()
