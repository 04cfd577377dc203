"""`workbench prompts`: what there is, what it says, and going back to an earlier version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.cli import main
from workbench.prompting.prompt_versions import save_prompt
from workbench.prompting.prompts import list_prompts


def test_all_prompts_are_listed(home: Path, capsys: Any) -> None:
    save_prompt("mine", "# Say \u202ehello.\nuser: hello {{ name }}\n")
    assert main(["prompts", "list"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "yours" in lines["mine"] and "Say \\u202ehello." in lines["mine"] and "\u202e" not in out
    assert "yours" not in lines["summarise"]
    assert main(["prompts", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told] == [one.name for one in list_prompts()]


def test_a_prompts_text_can_be_saved_and_its_needs_are_told(tmp_path: Path, capsys: Any) -> None:
    assert main(["prompts", "show", "qa-context"]) == 0
    out, err = capsys.readouterr()
    assert "{{ question }}  What you want to know. (must be given)" in err and "technique" in err
    (tmp_path / "copy.yaml").write_text(out)
    assert main(["prompts", "show", str(tmp_path / "copy.yaml"), "--json"]) == 0
    copy = json.loads(capsys.readouterr().out)
    assert main(["prompts", "show", "qa-context", "--json"]) == 0
    original = json.loads(capsys.readouterr().out)
    assert copy["version"] == original["version"] and copy["text"].rstrip() == original["text"].rstrip()
    assert original["input"] == "question" and original["technique"] == [{"zero_shot": {}}]


def test_a_prompt_is_rendered(capsys: Any) -> None:
    values = ["--var", "question=Who?", "--var", "context=It was {{ me }}."]
    assert main(["prompts", "render", "qa-context", *values]) == 0
    out = capsys.readouterr().out
    assert out.startswith("system\nYou answer") and "It was {{ me }}." in out and "Question: Who?" in out
    assert main(["prompts", "render", "qa-context", *values, "--json"]) == 0
    assert [message["role"] for message in json.loads(capsys.readouterr().out)] == ["system", "user"]
    assert main(["prompts", "render", "qa-context", "--var", "question=Who?"]) == 2
    assert "needs a value for context" in capsys.readouterr().err


def test_versions_are_listed_and_restored(capsys: Any) -> None:
    assert main(["prompts", "versions", "mine"]) == 0
    assert "no version of mine was saved yet" in capsys.readouterr().err
    first = save_prompt("mine", "user: one {{ x }}\n")
    second = save_prompt("mine", "user: two {{ x }}\n")
    assert main(["prompts", "versions", "mine", "--json"]) == 0
    told = {one["version"]: one["current"] for one in json.loads(capsys.readouterr().out)}
    assert told == {first.version: False, second.version: True}
    assert main(["prompts", "show", "mine", "--version", first.version[:6]]) == 0
    assert "one {{ x }}" in capsys.readouterr().out
    assert main(["prompts", "versions", "mine", "--restore", first.version]) == 0
    out, err = capsys.readouterr()
    assert f"mine is version {first.version} now" in err
    assert [line.split()[-1] == "now" for line in out.splitlines() if line.startswith(first.version)] == [
        True
    ]
    assert main(["prompts", "versions", "mine", "--restore", "zzz"]) == 2
    assert "kept are" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["show", "sumarise"], ["render", "sumarise"]])
def test_a_name_that_is_nearly_right_is_told(words: list[str], capsys: Any) -> None:
    assert main(["prompts", *words]) == 2
    assert "did you mean summarise?" in capsys.readouterr().err
