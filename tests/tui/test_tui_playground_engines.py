"""Engines that load, fail, die and come back, as the Playground tells of them."""

from __future__ import annotations

import pytest
from playing import play
from scripted_catalog import choice
from scripted_model import ScriptedModel

from workbench.errors import ServerError
from workbench.inference.generation import OnDelta, Request, Response


async def test_an_engine_says_what_it_is_at_and_what_it_failed_of() -> None:
    models = {"smol": ScriptedModel(["hello"])}
    async with play(models, loading=["loading weights", "choosing how to run it"]) as playing:
        await playing.send("hi")
        await playing.until_shown("loading weights")
        await playing.until_shown("choosing how to run it")
        await playing.done()
        assert "hello" in playing.answers[0]
        del playing.catalog.scripted["smol"]
        await playing.send("again")
        await playing.done()
        assert playing.tab.column.state == "failed"
        assert "there is no such model" in playing.answers[0] and "try: name another" in playing.answers[0]


async def test_an_engine_that_dies_is_said_so_and_started_again() -> None:
    class Dying(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            if request.messages[-1]["content"] == "die":
                gone = ServerError(
                    "the engine's process ended without a word", hint="was there enough memory?"
                )
                playing.catalog.dead["smol"] = gone
                raise ServerError("the server broke off", where="a socket")
            return await super().generate(request, on_delta)

    async with play({"smol": Dying(lambda request, index: "alive")}) as playing:
        await playing.send("die")
        await playing.done()
        assert "ended without a word" in playing.answers[0] and "enough memory" in playing.answers[0]
        assert playing.catalog.opened == ["smol"]
        # The next request starts it again by itself.
        await playing.send("hello")
        await playing.until_answered("alive")
        await playing.done()
        assert playing.catalog.opened == ["smol", "smol"]
        # It dies while nothing is asked: the column says so, and one key starts it.
        playing.tab._engine_gone(choice("smol"), ServerError("the engine has ended"))
        await playing.until_shown("no engine; g starts it")
        assert "alive" in playing.answers[0]
        await playing.press("escape", "g")
        await playing.until(lambda: playing.catalog.opened == ["smol"] * 3)
        await playing.until(lambda: "no engine" not in playing.screen_text)


async def test_dead_engines_are_noticed_while_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.playground.catalog.WATCH_SECONDS", 0.05)
    async with play({"smol": ScriptedModel(["x"])}) as playing:
        await playing.send("x")
        await playing.done()
        playing.catalog.dead["smol"] = ServerError("the engine has ended")
        await playing.until_shown("The next prompt starts the engine again")
