"""How an engine is started: the options of `workbench serve`, in a form behind the list of models."""

from __future__ import annotations

from pathlib import Path

import pytest
from playing import play
from scripted_catalog import choice
from scripted_model import ScriptedModel

from workbench.tui.form.editor import FormEditor
from workbench.tui.playground.engine_draft import EngineDraft, EngineSection, read_options
from workbench.tui.playground.model_picker import ModelPicker
from workbench.tui.playground.settings_screen import SettingsScreen
from workbench.tui.playground.setup import ModelChoice, Setup


def draft_with(*options: str, **texts: str) -> EngineDraft:
    draft = EngineDraft(options)
    for field in draft.fields():
        if field.name in texts:
            draft.set_text(field, texts[field.name])
    return draft


def test_the_form_offers_what_serve_offers() -> None:
    # Soft prompts are chosen while it runs; those that it was started with are kept.
    assert {**EngineSection().model_dump(), "soft_prompt": []} == read_options([])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--dtype", "float32"),
        ("--dtype", "bfloat16", "--max-length", "512", "--kv-memory", "1.5", "--max-sequences", "8"),
        ("--kv-memory", "1.5", "--kv-dtype", "int4"),
        ("--device", "cuda:1", "--revision", "main", "--trust-remote-code"),
        ("--dtype", "float32", "--soft-prompt", "kind=/nowhere", "--soft-prompt", "run-1"),
    ],
)
def test_options_come_out_as_they_went_in(options: tuple[str, ...]) -> None:
    assert EngineDraft(options).options == options
    assert EngineDraft(EngineDraft(options).options).options == options


def test_options_that_nobody_knows_are_as_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert EngineDraft(("--dtype", "float3")).options == ()
    assert EngineDraft(("--frobnicate", "1")).options == ()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("kv_memory", "0", "greater than 0"),
        ("max_sequences", "many", "valid integer"),
        ("adapter", "/nowhere/at/all", "no such folder"),
        ("dtype", "int4", "'auto', 'float32'"),
    ],
)
def test_what_no_engine_can_be_started_with_is_said(name: str, text: str, problem: str) -> None:
    draft = draft_with(**{name: text})
    assert problem in draft.problems[f"engine.{name}"]


def test_an_adapter_is_a_folder_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lora").mkdir()
    monkeypatch.chdir(tmp_path)
    draft = draft_with(adapter="lora")
    assert draft.problems == {} and draft.options == ("--adapter", str(tmp_path / "lora"))


def test_options_stand_beside_the_name_of_the_model() -> None:
    model = ModelChoice("local", "/m/smol", options=("--dtype", "float32", "--trust-remote-code"))
    assert Setup(model).in_words() == "smol · dtype float32, trust-remote-code"
    assert Setup.from_json(Setup(model).as_json()) == Setup(model)


async def test_options_are_chosen_behind_the_list_of_models(size: tuple[int, int]) -> None:
    async with play({"smol": ScriptedModel(["fine"])}, size) as playing:
        await playing.press("m")
        picker = await playing.until_screen(ModelPicker)
        await playing.until(lambda: len(picker.shown) == 2)
        assert "engine options" in playing.screen_text
        await playing.press("tab")
        screen = await playing.until_screen(SettingsScreen)
        await playing.until_shown("Engine for smol")
        await playing.press("right", "down", "enter", "2", "enter")
        assert playing.fits()
        assert not screen.query_one(FormEditor).editing
        await playing.press("f5")
        wanted = ("--dtype", "float32", "--kv-memory", "2")
        await playing.until(
            lambda: playing.tab.column.setup.model == ModelChoice("local", "smol", "", wanted)
        )
        await playing.until_shown("dtype float32, kv-memory 2")
        # As the list names it, it is as by default again.
        await playing.press("m")
        picker = await playing.until_screen(ModelPicker)
        await playing.until(lambda: len(picker.shown) == 2)
        await playing.press("enter")
        await playing.until(lambda: playing.tab.column.setup.model == choice("smol"))


async def test_what_a_server_runs_has_no_options() -> None:
    async with play({"smol": ScriptedModel(["x"])}) as playing:
        await playing.press("m")
        picker = await playing.until_screen(ModelPicker)
        await playing.until(lambda: len(picker.shown) == 2)
        picker.add([])
        entry = picker.entries[0]
        picker.entries = [type(entry)("far", ModelChoice("server", "far", "box"))]
        picker.fill()
        await playing.until(lambda: "engine options" not in playing.screen_text)
        await playing.press("tab")
        assert playing.app.screen is picker
