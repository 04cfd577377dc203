"""The Playground under test: opened on scripted models, driven by keys, waited for by what it shows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from scripted_catalog import ScriptedCatalog
from scripted_model import ScriptedModel, tokens
from textual.css.query import NoMatches
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen

from workbench.inference.generation import Completion, Model, OnDelta
from workbench.tui.app import WorkbenchApp
from workbench.tui.commands import active_commands
from workbench.tui.playground.answer_view import AnswerView
from workbench.tui.playground.catalog import Catalog
from workbench.tui.playground.settings_screen import SettingsScreen
from workbench.tui.tabs.playground import PlaygroundTab

S = TypeVar("S", bound=Screen[Any])
SMALL, LARGE = (80, 24), (200, 60)
FEW_SHOT, COT, VOTE, TOOLS, RAG = range(5)
"""The places of the techniques in their form."""


class Held(ScriptedModel):
    """Waits behind the first token of its answers until it is let go."""

    def __init__(self, *answers: str) -> None:
        super().__init__(list(answers))
        self.going = asyncio.Event()

    async def _stream(self, completions: Sequence[Completion], on_delta: OnDelta | None) -> None:
        for completion in completions:
            self._tell(completion, 0, on_delta)
        await self.going.wait()
        for position in range(1, max(len(tokens(one.text)) for one in completions) + 1):
            for completion in completions:
                self._tell(completion, position, on_delta)


class Playing:
    """The tab, and what tests do with it."""

    def __init__(self, app: WorkbenchApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def tab(self) -> PlaygroundTab:
        return self.app.screen_stack[0].query_one(PlaygroundTab)

    @property
    def catalog(self) -> ScriptedCatalog:
        catalog = self.tab.backstage.catalog
        assert isinstance(catalog, ScriptedCatalog)
        return catalog

    @property
    def answers(self) -> list[str]:
        """The text of each column's conversation."""
        return [pane.query_one(AnswerView).text for pane in self.tab.panes]

    @property
    def screen_text(self) -> str:
        """What is on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips[: self.app.size.height])

    def shows(self, words: str) -> bool:
        return words in self.screen_text

    @property
    def keys(self) -> dict[str, str]:
        """The keys that do something now, and what they do, in a word."""
        return {
            key: command.binding.description
            for command in active_commands(self.app.screen)
            if command.enabled
            for key in command.keys
        }

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Go on as soon as it holds; fail with the screen if it never does."""
        deadline = time.monotonic() + float(os.environ.get("TUI_TEST_SECONDS", "20"))
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (LookupError, NoMatches):
                pass
            await self.pilot.pause(0.01)
        raise AssertionError(f"never came true: {what or condition}\n{self.screen_text}")

    async def until_shown(self, words: str) -> None:
        await self.until(lambda: self.shows(words), words)

    async def until_answered(self, words: str, column: int = 0) -> None:
        await self.until(lambda: words in self.answers[column], words)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, text: str) -> None:
        """Press the keys of a text."""
        await self.pilot.press(*("space" if char == " " else _character_to_key(char) for char in text))

    async def send(self, text: str) -> None:
        if not self.tab.editor.active:
            await self.press("enter")
        await self.write(text)
        await self.press("enter")

    async def done(self) -> None:
        await self.until(lambda: not self.tab.busy and self.tab.column.state != "empty", "all has come")
        await self.pilot.pause()

    async def until_screen(self, kind: type[S]) -> S:
        await self.until(lambda: isinstance(self.app.screen, kind), kind.__name__)
        screen = self.app.screen
        assert isinstance(screen, kind)
        return screen

    async def use(self, *places: int) -> SettingsScreen:
        """Switch on the techniques at these places of their form, and leave the form open."""
        await self.press("t")
        screen = await self.until_screen(SettingsScreen)
        for place in places:
            await self.press("home", *["down"] * place, "space")
        return screen

    def fits(self) -> bool:
        """Whether no line is wider than the terminal."""
        return all(len(line) <= self.app.size.width for line in self.screen_text.splitlines())


@asynccontextmanager
async def play(
    models: Mapping[str, Model], size: tuple[int, int] = SMALL, *, allow_after: float = 0.0, **options: Any
) -> AsyncIterator[Playing]:
    """The tab on scripted models, the first of them chosen."""
    async with play_on(lambda: ScriptedCatalog(models, **options), size, allow_after=allow_after) as playing:
        if models:
            await playing.until(lambda: playing.tab.column.setup.model is not None, "a model")
        yield playing


@asynccontextmanager
async def play_on(
    make_catalog: Callable[[], Catalog], size: tuple[int, int] = SMALL, *, allow_after: float = 0.0
) -> AsyncIterator[Playing]:
    """The tab on the models of a catalog."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlaygroundTab, "make_catalog", make_catalog)
        patch.setattr(PlaygroundTab, "ALLOW_AFTER", allow_after)
        app = WorkbenchApp()
        async with app.run_test(size=size, notifications=True) as pilot:
            playing = Playing(app, pilot)
            await playing.press("4")
            await playing.until(lambda: playing.tab.panes and playing.tab.panes[0].children)
            await pilot.pause()
            yield playing
