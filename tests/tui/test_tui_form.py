"""The form for a new run: what it makes of text, what it says is wrong, and what it starts."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from workbench.errors import RecipeError, storage_error
from workbench.recipe import list_presets, load
from workbench.store import launch, runs
from workbench.tui import editor
from workbench.tui.app import WorkbenchApp
from workbench.tui.form.draft import Draft
from workbench.tui.form.recipe_draft import RecipeDraft
from workbench.tui.form.schema import FormField, form_fields, section_fields
from workbench.tui.form.text import to_override, to_text, to_value
from workbench.tui.train.new_run import NewRunScreen


def field(key: str) -> FormField:
    return next(entry for entry in form_fields() if entry.key == key)


def test_every_key_of_the_recipe_is_a_field_with_help() -> None:
    assert {entry.kind for entry in form_fields()} >= {"text", "integer", "number", "bool", "choice", "list"}
    assert all(entry.help and entry.type_words for entry in form_fields())
    assert field("training.learning_rate").type_words == "number > 0"
    assert field("launch.device").choices == ("auto", "cpu", "cuda", "mps")


class Frozen(BaseModel):
    names: tuple[str, ...] = Field(("a", "b"), description="Names.")


def test_what_cannot_be_changed_in_place_is_typed_like_any_list() -> None:
    (names,) = section_fields("frozen", Frozen)
    assert (names.key, names.kind, names.default, names.help) == (
        "frozen.names",
        "list",
        ["a", "b"],
        "Names.",
    )
    draft = Draft({"frozen": {"names": ["a", "b"]}})
    draft.set_text(names, "a, b")
    assert draft.changes == {}
    draft.set_text(names, "b, c")
    assert draft.changes == {"frozen.names": ["b", "c"]} and draft.changed(names)
    draft.set_text(names, "[b")
    assert draft.text(names) == "[b" and "frozen.names" in draft.problems
    draft.reset(names)
    assert draft.text(names) == "a, b" and draft.problems == {}


@pytest.mark.parametrize("preset", ["nano", "quickstart"])
def test_text_of_every_field_reads_back(preset: str) -> None:
    draft = RecipeDraft(preset)
    for entry in form_fields():
        draft.set_text(entry, draft.text(entry))
    assert draft.overrides == [] and draft.problems == {}
    assert draft.recipe() == load(preset)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.learning_rate", "1e-4", 1e-4),
        ("training.max_steps", "", None),
        ("training.max_steps", "1_000", 1000),
        ("run.description", "yes: 1e-4 # no", "yes: 1e-4 # no"),
        ("training.sample_prompts", "one, two", ["one", "two"]),
        ("training.sample_prompts", '["The ", "a, b"]', ["The ", "a, b"]),
        ("training.sample_prompts", "", []),
        ("data.sources", "a.txt, b.txt", ["a.txt", "b.txt"]),
        ("data.sources", "[{path: a.txt, weight: 2}]", [{"path": "a.txt", "weight": 2}]),
    ],
)
def test_what_is_typed_is_what_the_command_line_says(key: str, text: str, value: Any) -> None:
    draft = RecipeDraft("nano")
    assert to_value(field(key), text) == value
    draft.set_text(field(key), text)
    words = shlex.split(draft.command_line)
    assert words[:3] == ["workbench", "train", "nano"]
    assert load("nano", words[3:]) == draft.recipe()
    assert to_value(field(key), to_text(field(key), draft.value(field(key)))) == value


@pytest.mark.parametrize("text", ["plain", "1e-4", "true", "a: b", "", " x", "[1]", "é\n", "it's"])
def test_overrides_quote_what_is_not_text_to_yaml(text: str) -> None:
    assert load("nano", [to_override("run.description", text)]).run.description == text


def test_problems_stand_at_their_fields() -> None:
    draft = RecipeDraft("nano")
    draft.set_text(field("training.learning_rate"), "-1")
    draft.set_text(field("training.max_steps"), "many")
    draft.set_text(field("model.num_attention_heads"), "3")
    draft.set_text(field("data.sources"), "[")
    problems = draft.problems
    assert "greater than 0" in problems["training.learning_rate"]
    assert "integer" in problems["training.max_steps"]
    assert "not divisible" in problems["model.num_attention_heads"]
    assert problems["model.hidden_size"] == problems["model.num_attention_heads"]
    assert "YAML" in problems["data.sources"]
    with pytest.raises(RecipeError):
        draft.recipe()
    for entry in form_fields():
        draft.reset(entry)
    assert draft.problems == {} and draft.overrides == []


def test_a_problem_of_two_sections_stands_at_both() -> None:
    draft = RecipeDraft("nano")
    draft.set_text(field("data.max_length"), "100000")
    assert set(draft.problems) == {"data.max_length", "model.max_position_embeddings"}


def test_edited_yaml() -> None:
    draft = RecipeDraft("nano")
    draft.take_yaml(draft.yaml().replace("seed: 42", "seed: 7"))
    assert draft.overrides == ["training.seed=7"]
    with pytest.raises(RecipeError, match="learning_rat"):
        draft.take_yaml("training:\n  learning_rat: 1\n")
    with pytest.raises(RecipeError) as caught:
        draft.take_yaml("training:\n  seed: [\n")
    assert "line" in caught.value.where


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(launch, "start", lambda run: names.append(run.name))
    return names


def form_of(app: WorkbenchApp) -> NewRunScreen:
    assert isinstance(app.screen, NewRunScreen)
    return app.screen


async def open_form(pilot: Any, until: Any, text_of: Callable[[Any], str]) -> None:
    await until(pilot, lambda: "No runs yet" in text_of(pilot.app))
    await pilot.press("n")
    await until(pilot, lambda: "quickstart" in text_of(pilot.app) and "choose a preset" in text_of(pilot.app))
    await pilot.press("enter")
    await until(pilot, lambda: "workbench train quickstart" in text_of(pilot.app))


async def test_start_from_a_preset(
    size: tuple[int, int], until: Any, text_of: Any, train_tab: Any, started: list[str]
) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await open_form(pilot, until, text_of)
        await pilot.press("slash", *"max_steps", "enter")
        assert form_of(app).fields.current == "training.max_steps"
        await pilot.press("enter", *["backspace"] * 5, *"many")
        await until(pilot, lambda: "1 wrong" in text_of(app) and "valid integer" in text_of(app))
        await pilot.press("ctrl+j")
        assert started == [] and isinstance(app.screen, NewRunScreen)
        await pilot.press(*["backspace"] * 4, *"12", "enter")
        await until(pilot, lambda: "training.max_steps=12" in text_of(app))
        assert "1 changed" in text_of(app) and "wrong" not in text_of(app).splitlines()[0]
        await pilot.press("ctrl+j")
        await until(pilot, lambda: started == ["quickstart-1"])
        await until(pilot, lambda: train_tab(app).selected == "quickstart-1")
        assert runs.find_run("quickstart-1").recipe().training.max_steps == 12


async def test_keys_of_the_form(until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, until, text_of)
        form = form_of(app)
        fields = form.fields
        await pilot.press("tab", "tab")
        assert fields.current.startswith("data.")
        await pilot.press("slash", *"packing", "enter")
        await pilot.press("space")
        await until(pilot, lambda: "data.packing=false" in text_of(app))
        await pilot.press("x")
        await until(pilot, lambda: "data.packing=false" not in text_of(app))
        await pilot.press("escape", "slash", *"scheduler", "enter", "right", "right")
        await until(pilot, lambda: "lr_scheduler_type=constant" in text_of(app))
        await pilot.press("left")
        await until(pilot, lambda: "lr_scheduler_type=linear" in text_of(app))
        await pilot.press("escape", "c")
        await until(pilot, lambda: [line.key for line in fields._fields] == ["training.lr_scheduler_type"])
        await pilot.press("c", "enter", "home")
        # What was typed is given up with esc, and put back.
        assert fields.current == "run.name"
        await pilot.press("enter", *"bad name!")
        await until(pilot, lambda: "1 wrong" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "wrong" not in text_of(app).splitlines()[0])
        await pilot.press("question_mark")
        await until(pilot, lambda: "form.reset" in text_of(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "choose a preset" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, NewRunScreen))


async def test_full_disk_keeps_the_form(
    until: Any, text_of: Any, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(recipe: object, stem: str) -> None:
        raise storage_error(OSError(errno.ENOSPC, ""), "/the/disk")

    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await open_form(pilot, until, text_of)
        monkeypatch.setattr(runs, "create_run", refuse)
        await pilot.press("ctrl+j")
        await until(pilot, lambda: "the disk is full" in text_of(app) and "/the/disk" in text_of(app))
        assert isinstance(app.screen, NewRunScreen) and started == []


async def test_broken_preset_is_a_notification(home: Path, until: Any, text_of: Any) -> None:
    (home / "presets" / "runs").mkdir(parents=True)
    (home / "presets" / "runs" / "aaa.yaml").write_text("# [b]mine[/b]\ntraining:\n  sed: 3\n")
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "No runs yet" in text_of(app))
        await pilot.press("n")
        await until(pilot, lambda: "quickstart" in text_of(app))
        names = [preset.name for preset in list_presets("runs")]
        await pilot.press(*["down"] * names.index("aaa"))
        await until(pilot, lambda: "(yours) [b]mine[/b]" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "there is no key “sed”" in text_of(app))
        assert "training.seed" in text_of(app)


async def test_editor(
    make_run: Any,
    until: Any,
    text_of: Any,
    train_tab: Any,
    monkeypatch: pytest.MonkeyPatch,
    started: list[str],
) -> None:
    make_run("old", steps=3)
    texts: list[str] = []

    def edit(app: Any, text: str) -> str:
        texts.append(text)
        if len(texts) == 1:
            return text.replace("seed: 42", "seed: x")
        return text.replace("seed: x", "seed: 7")

    monkeypatch.setattr(editor, "edit", edit)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "old")
        await pilot.press("e")
        await until(pilot, lambda: len(texts) == 1 and "training.seed" in text_of(app))
        # What was edited wrongly is not lost: it is what the editor opens with again.
        await pilot.press("e")
        await until(pilot, lambda: len(texts) == 2)
        assert "seed: x" in texts[1]
        await until(pilot, lambda: "training.seed=7" in form_of(app)._draft.overrides)  # type: ignore[union-attr]
        await pilot.press("ctrl+j")
        await until(pilot, lambda: started == ["old-1"])


def test_finding_an_editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDITOR", "sh -c true")
    assert editor.find_editor() == ["sh", "-c", "true"]
    monkeypatch.setenv("VISUAL", "no-such-editor")
    with pytest.raises(editor.EditorError, match="no-such-editor"):
        editor.find_editor()
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(editor.EditorError, match="no editor"):
        editor.find_editor()
