"""The Playground on a real model behind the real server: a tiny one, on a socket."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from playing import VOTE, play_on
from repeating_draws import unseeded_draws_repeat as unseeded_draws_repeat
from served import service, serving

from workbench.tui.playground.catalog import Catalog
from workbench.tui.playground.odds import OddsPane
from workbench.tui.playground.picker import Picker
from workbench.tui.playground.settings_screen import SettingsScreen


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, home: Path, unseeded_draws_repeat: None) -> Any:
    """A server in the user's list, called box, with a model called tiny."""
    with serving(service(), tmp_path_factory.mktemp("s")) as socket:
        home.mkdir(exist_ok=True)
        gone = "{name: away, url: 'http://127.0.0.1:9/v1'}"
        (home / "servers.yaml").write_text(f"servers:\n  - {{name: box, socket: '{socket}'}}\n  - {gone}\n")
        yield socket


async def test_a_real_model_answers_with_tokens_votes_and_a_preview(served: Path) -> None:
    async with play_on(Catalog, (120, 40)) as playing:
        await playing.press("m")
        picker = await playing.until_screen(Picker)
        await playing.until(lambda: {"tiny", "away"} <= {entry.title for entry in picker.entries}, "listed")
        assert playing.shows("cannot be reached")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.column.setup.model is not None)
        assert playing.tab.column.setup.model.label == "tiny"  # type: ignore[union-attr]

        await playing.press("r")
        screen = await playing.until_screen(SettingsScreen)
        await playing.press("enter")
        await playing.write("24")
        await playing.press("enter", "escape")
        await playing.until(lambda: playing.app.screen is not screen)

        await playing.send("Hello")
        await playing.done()
        column = playing.tab.column
        assert column.state == "done", playing.answers
        assert column.shown is not None and 0 < len(column.shown.tokens) <= 24
        assert column.rate is not None and column.first_seconds is not None
        await playing.press("escape", "i")
        pane = playing.tab.panes[0].query_one(OddsPane)
        await playing.until(lambda: len(pane.flow.cells) == len(column.shown.tokens))  # type: ignore[union-attr]
        for token in column.shown.tokens:
            assert len(token.top) == 5
            assert token.logprob <= 0 and sum(math.exp(logprob) for _, logprob in token.top) < 1.001

        await playing.press("n", "enter")
        await playing.write("Hello <|im_end|>")
        await playing.press("escape", "p")
        await playing.until(lambda: playing.tab.preview.preview is not None)
        preview = playing.tab.preview.preview
        assert preview is not None and not preview.problem
        text = "".join(token.text for token in preview.tokens)
        assert text == "<|im_start|>user\nHello <|im_end|><|im_end|>\n<|im_start|>assistant\n"
        special = [token.text for token in preview.tokens if token.special]
        assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]

        await playing.press("a")
        screen = await playing.use(VOTE)
        await playing.press("escape")
        await playing.until(lambda: playing.app.screen is not screen)
        await playing.press("ctrl+j")
        await playing.done()
        assert column.vote is not None and column.vote["finished"] >= 1
        assert len(column.chains) >= 6


async def test_cancelling_frees_the_server(served: Path) -> None:
    async with play_on(Catalog, (80, 24)) as playing:
        await playing.press("m")
        picker = await playing.until_screen(Picker)
        await playing.until(lambda: any(entry.title == "tiny" for entry in picker.entries))
        await playing.press("enter")
        await playing.until(lambda: playing.tab.column.setup.model is not None)
        await playing.send("Hello")
        await playing.until(lambda: playing.tab.column.shown and playing.tab.column.shown.log, "it streams")
        await playing.press("escape")
        await playing.done()
        # A model this small may have been faster than the key.
        assert playing.tab.column.state in ("cancelled", "done")
        await playing.press("escape", "n")
        await playing.send("again")
        await playing.until(lambda: playing.tab.column.shown and playing.tab.column.shown.log, "it streams")
        await playing.press("escape")
        await playing.done()


async def test_a_server_that_goes_away_is_one_clear_error(served: Path) -> None:
    async with play_on(Catalog, (120, 40)) as playing:
        await playing.press("m")
        await playing.until_screen(Picker)
        await playing.write("http://127.0.0.1:9/v1 nobody")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.column.setup.model is not None)
        await playing.send("Hello")
        await playing.done()
        assert playing.tab.column.state == "failed"
        assert "cannot be reached" in playing.answers[0] and "127.0.0.1:9" in playing.answers[0]
