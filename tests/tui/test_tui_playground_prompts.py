"""Prompt files in the Playground: their fields, editing and saving them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playing import play
from scripted_model import ScriptedModel

from workbench.tui.playground.picker import Picker


async def test_a_prompt_file_has_a_field_for_each_variable(size: tuple[int, int]) -> None:
    model = ScriptedModel(["short", "shorter"])
    async with play({"smol": model}, size) as playing:
        await playing.press("o")
        picker = await playing.until_screen(Picker)
        await playing.until(lambda: picker.shown)
        await playing.write("rewrite")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.writing.name == "rewrite")
        names = [slot.name for slot in playing.tab.writing.slots]
        assert names[0] == "text" and {"persona", "manner", "system"} <= set(names)
        assert "anew each time" in playing.screen_text
        await playing.until(lambda: playing.tab.editor.active)
        await playing.write("A long text")
        for _ in range(names.index("persona")):
            await playing.press("tab")
        await playing.press("ctrl+u")
        await playing.write("a poet")
        await playing.press("ctrl+j")
        await playing.done()
        system, user = model.requests[0].messages
        assert "You are a poet." in system["content"] and user["content"] == "A long text"
        assert model.requests[0].sampling.temperature == 0.7
        # Asked again it is asked anew, with what was written still there.
        await playing.press("ctrl+j")
        await playing.until(lambda: len(model.requests) == 2)
        assert model.requests[1].messages == model.requests[0].messages
        await playing.done()
        # What is typed then replaces what was sent.
        await playing.write("a cook")
        await playing.press("ctrl+j")
        await playing.until(lambda: len(model.requests) == 3)
        assert "You are a cook." in model.requests[2].messages[0]["content"]


async def test_what_must_be_filled_in_is_asked_for() -> None:
    model = ScriptedModel(["x"])
    async with play({"smol": model}) as playing:
        await playing.press("o")
        await playing.until_screen(Picker)
        await playing.write("qa-context")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.writing.name == "qa-context")
        await playing.until(lambda: playing.tab.editor.active)
        await playing.press("ctrl+j")
        await playing.until_shown("is still empty")
        assert not model.requests and playing.tab.column.state == "empty"


async def test_a_prompt_is_edited_and_saved(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    texts = iter(["user: '{{ oops'\n", "# Mine\nsystem: Be terse.\nuser: 'Say {{ word }}'\n"])

    def edit(app: Any, text: str, name: str) -> str:
        seen.append(text)
        return next(texts)

    monkeypatch.setattr("workbench.tui.playground.prompt_files.edit", edit)
    model = ScriptedModel(["ok"])
    async with play({"smol": model}, (120, 40)) as playing:
        await playing.press("e")
        await playing.until_shown("the template cannot be read")
        # What was wrong is there to be mended.
        await playing.press("e")
        await playing.until(lambda: playing.tab.writing.prompt is not None)
        assert seen[1] == "user: '{{ oops'\n"
        assert [slot.name for slot in playing.tab.writing.slots] == ["word", "system"]
        await playing.until(lambda: playing.tab.editor.active)
        await playing.press("escape", "w")
        await playing.until(lambda: playing.tab.question.asked)
        await playing.write("mine")
        await playing.press("enter")
        await playing.until(lambda: (home / "prompts" / "mine.yaml").exists())
        await playing.until(lambda: playing.tab.writing.name == "mine")
        await playing.until(lambda: playing.tab.editor.active)
        await playing.write("hi")
        await playing.press("ctrl+j")
        await playing.done()
        assert [message["content"] for message in model.requests[0].messages] == ["Be terse.", "Say hi"]
