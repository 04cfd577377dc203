"""Saving prompts: no version is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.errors import PromptError
from workbench.prompting.prompt_versions import load_version, prompt_versions, restore_prompt, save_prompt
from workbench.prompting.prompts import find_prompt, load_prompt


def saved(name: str, text: str, seconds: float) -> str:
    """Save a prompt as if at a time; returns its version."""
    version = save_prompt(name, text).version
    path = next(item.path for item in prompt_versions(name) if item.version == version)
    os.utime(path, (seconds, seconds))
    return version


def test_versions_are_kept_listed_and_restored(home: Path) -> None:
    first = saved("mine", "# One.\nuser: one", 1)
    second = saved("mine", "user: two", 2)
    assert [(item.version, item.current) for item in prompt_versions("mine")] == [
        (second, True),
        (first, False),
    ]
    assert load_version("mine", first[:5]).content.user == "one"
    assert restore_prompt("mine", first[:5]).content.user == "one"
    assert (home / "prompts" / "mine.yaml").read_text() == "# One.\nuser: one"
    assert {item.version: item.current for item in prompt_versions("mine")} == {first: True, second: False}


def test_a_version_edited_by_hand_is_kept_when_the_next_is_saved(home: Path) -> None:
    save_prompt("mine", "user: one")
    (home / "prompts" / "mine.yaml").write_text("user: by hand")
    save_prompt("mine", "user: three")
    kept = {load_version("mine", item.version).content.user for item in prompt_versions("mine")}
    assert kept == {"one", "by hand", "three"}


def test_a_broken_file_is_kept_too(home: Path) -> None:
    save_prompt("mine", "user: one")
    (home / "prompts" / "mine.yaml").write_text("user: [half")
    save_prompt("mine", "user: two")
    texts = {path.read_text() for path in (home / "prompts" / ".versions" / "mine").glob("*.yaml")}
    assert texts == {"user: one", "user: [half", "user: two"}


def test_saving_over_a_preset_keeps_the_preset(home: Path) -> None:
    preset = load_prompt("qa")
    save_prompt("qa", "user: mine")
    assert find_prompt("qa") == home / "prompts" / "qa.yaml"
    assert restore_prompt("qa", preset.version).content == preset.content


@pytest.mark.parametrize(
    "text", ["user: [", "user: '{{'", "user: x\ntechnique: {cot: {stagse: 1}}", "usr: x"]
)
def test_what_is_no_prompt_is_not_saved(home: Path, text: str) -> None:
    save_prompt("mine", "user: one")
    with pytest.raises(PromptError):
        save_prompt("mine", text)
    assert load_prompt("mine").content.user == "one"
    assert len(prompt_versions("mine")) == 1


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "x" * 101, "a\n"])
def test_names_stay_in_the_folder(name: str) -> None:
    with pytest.raises(PromptError, match="cannot be the name"):
        save_prompt(name, "user: x")


def test_unknown_and_ambiguous_versions_are_refused() -> None:
    version = save_prompt("mine", "user: one").version
    with pytest.raises(PromptError, match="no version") as caught:
        load_version("mine", "zzz")
    assert version in caught.value.hint
    with pytest.raises(PromptError, match="no version"):
        load_version("mine", "")


def test_unusual_text_survives(home: Path) -> None:
    text = "user: |\n  \u202e[red]{{ '\\x1b' }}[/red] 日本 😀\n"
    save_prompt("mine", text)
    assert (home / "prompts" / "mine.yaml").read_text(encoding="utf-8") == text
