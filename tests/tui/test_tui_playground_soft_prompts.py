"""Soft prompts in the Playground: chosen, read, compared with a written system message, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playing import play, play_on
from saved_soft_prompts import write
from scripted_model import ScriptedModel
from served import service, serving

from workbench.store import history
from workbench.tui.playground.catalog import Catalog
from workbench.tui.playground.column_pane import head_words
from workbench.tui.playground.outgoing import Outgoing
from workbench.tui.playground.setup import ModelChoice, Setup
from workbench.tui.playground.soft_prompt_picker import SoftPromptPicker

MODEL = ModelChoice("server", "tiny", "box")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Any:
    """A soft prompt that no engine knows; the server called box finds another, of a run called run-1."""
    served = service()
    places = tmp_path_factory.mktemp("soft")
    served.folder = places
    write(home / "runs" / "run-1" / "final", places, seed=1)
    (home / "runs" / "run-1" / "status.json").write_text("{}")
    with serving(served, tmp_path_factory.mktemp("s")) as socket:
        (home / "servers.yaml").write_text(f"servers:\n  - {{name: box, socket: '{socket}'}}\n")
        yield write(places / "of-mine", places, seed=2)


async def test_a_soft_prompt_against_a_written_system_message(folder: Path) -> None:
    async with play_on(Catalog, (120, 40)) as playing:
        tab = playing.tab
        tab.column.setup = Setup(model=MODEL, sampling={"max_tokens": 8, "temperature": 0})
        tab.writing.slots[1].text = "Be kind."
        await playing.press("P")
        picker = await playing.until_screen(SoftPromptPicker)
        await playing.until(lambda: [entry.title for entry in picker.entries] == ["none", "run-1"])
        await playing.press("down")
        await playing.until(lambda: playing.shows("nearest tokens, with cosines"))
        assert playing.shows("prompt tuning · 4 tokens") and playing.shows("in place of the system message")
        await playing.press("enter")
        await playing.until(lambda: tab.column.setup.soft_prompt == "run-1")

        await playing.press("plus")
        await playing.until(lambda: len(tab.columns) == 2)
        await playing.press("P")
        picker = await playing.until_screen(SoftPromptPicker)
        assert picker.at == "run-1"
        await playing.write(str(folder))
        await playing.until(lambda: len(picker.shown) == 1)
        await playing.press("tab", "enter")
        await playing.until(lambda: tab.column.setup.soft_prompt == str(folder))
        assert tab.column.setup.keeps_system

        await playing.press("plus", "P")
        picker = await playing.until_screen(SoftPromptPicker)
        await playing.until(lambda: len(picker.entries) == 2)
        await playing.press("up", "up", "enter")
        await playing.until(lambda: not tab.column.setup.soft_prompt)

        await playing.send("Hello")
        await playing.done()
        assert [column.state for column in tab.columns] == ["done"] * 3, playing.answers
        heads = [head_words(column, 0)[0] for column in tab.columns]
        names = ("tiny:run-1 · ", "tiny:of-mine + system · ", "tiny · ")
        assert all(head.startswith(name) for head, name in zip(heads, names, strict=True))
        asked = [[message["role"] for message in column.messages] for column in tab.columns]
        assert asked == [["user", "assistant"], *[["system", "user", "assistant"]] * 2]
        (kept,) = history.entries(limit=5)
        kept_setups = [Setup.from_json(one) for one in kept.sent["setups"]]
        assert kept_setups == [column.setup for column in tab.columns]


async def test_a_server_without_soft_prompts_says_so_and_another_model_takes_none_along() -> None:
    async with play({"one": ScriptedModel(["yes"])}, (80, 24)) as playing:
        tab = playing.tab
        await playing.until(lambda: tab.column.setup.model is not None)
        await playing.press("P")
        await playing.until_screen(SoftPromptPicker)
        await playing.until(lambda: playing.shows("it takes no soft prompts"))
        await playing.press("escape")
        await playing.until(lambda: not isinstance(playing.app.screen, SoftPromptPicker))
        tab.column.setup = Setup(model=MODEL, soft_prompt="x")
        await playing.press("m")
        await playing.press("enter")
        await playing.until(lambda: tab.column.setup.model != MODEL)
        assert not tab.column.setup.soft_prompt


def test_a_soft_prompt_stands_in_place_of_a_system_message_everywhere() -> None:
    said = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"})
    prompt = 'system: Be kind.\nuser: "{{ question }}"\ninput: question\n'
    for text, values in (("", None), (prompt, {"question": "b"})):
        for keeps in (False, True):
            setup = Setup(MODEL, soft_prompt="x", keeps_system=keeps)
            outgoing = Outgoing("b", setup, "p", text, values, "Be kind.")
            roles = [message["role"] for message in outgoing.task(outgoing.prompt()).messages]
            assert roles == (["system", "user"] if keeps else ["user"])
            going_on = Outgoing("b", setup, "p", text, values, "Be kind.", said)
            roles = [message["role"] for message in going_on.task(going_on.prompt()).messages]
            assert roles == (["system", "user", "user"] if keeps else ["user", "user"])


def test_what_was_kept_before_there_were_soft_prompts_can_be_read() -> None:
    kept = Setup(MODEL).as_json()
    del kept["soft_prompt"], kept["keeps_system"]
    assert Setup.from_json(kept) == Setup(MODEL)
    assert Setup.from_json({**kept, "soft_prompt": 7}) == Setup(MODEL)
    assert Setup(MODEL, soft_prompt="/runs/kind-1/final").in_words() == "tiny:kind-1"
