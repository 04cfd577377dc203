"""What was sent, searched and opened again in the Playground."""

from __future__ import annotations

from playing import VOTE, Held, play
from scripted_catalog import choice
from scripted_model import ScriptedModel

from workbench.store import history
from workbench.tui.playground.column_record import record_of
from workbench.tui.playground.history_screen import HistoryScreen


async def test_history_is_searched_opened_and_sent_again(size: tuple[int, int]) -> None:
    models = {"left": ScriptedModel(lambda request, index: f"left on {request.messages[-1]['content']}")}
    async with play(models, size) as playing:
        for text in ("apples", "pears"):
            await playing.send(text)
            await playing.until(lambda text=text: f"left on {text}" in playing.answers[0])  # type: ignore[misc]
            await playing.done()
        await playing.until(lambda: all(entry.answers for entry in history.entries()))
    # Another day: what was sent is still there, and so is the model it was sent to.
    async with play({**models, "first": ScriptedModel(["x"])}, size) as playing:
        assert playing.tab.column.setup.model == choice("left")
        await playing.press("h")
        screen: HistoryScreen = await playing.until_screen(HistoryScreen)
        await playing.until(lambda: [entry.question for entry in screen.entries] == ["pears", "apples"])
        assert "left on pears" in playing.screen_text
        await playing.press("slash")
        await playing.write("LEFT apples")
        await playing.until_shown("1 sent with")
        await playing.press("down", "enter", "enter")
        await playing.until(lambda: playing.tab.column.question == "apples")
        assert "left on apples" in playing.answers[0] and playing.tab.column.state == "done"
        await playing.press("h")
        screen = await playing.until_screen(HistoryScreen)
        await playing.until(lambda: screen.entries)
        await playing.press("y")
        assert playing.app.clipboard == "left on pears"
        await playing.press("R")
        await playing.until(lambda: playing.tab.column.state == "done" and playing.tab.sent[-1] == "pears")
        await playing.until_answered("left on pears")


async def test_columns_come_back_as_they_stood() -> None:
    said = iter(["1", "1", "1", "1", "1", "1", "1", "1", "1", "1"])
    models = {"smol": ScriptedModel(lambda request, index: next(said, "plain"))}
    async with play(models, (200, 60)) as playing:
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await playing.use(VOTE)
        await playing.press("escape")
        await playing.send("x")
        await playing.done()
        before = [record_of(column) for column in playing.tab.columns]
        await playing.press("escape", "minus")
        await playing.until(lambda: len(playing.tab.panes) == 1)
        await playing.press("n", "h")
        screen = await playing.until_screen(HistoryScreen)
        await playing.until(lambda: screen.entries and len(screen.entries[0].answers) == 2)
        await playing.press("enter")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        after = [record_of(column) for column in playing.tab.columns]
        for old, new in zip(before, after, strict=True):
            for key in ("setup", "state", "technique", "chain", "tokens", "steps"):
                assert new[key] == old[key], key
        assert playing.tab.columns[1].vote is not None


async def test_leaving_while_an_answer_comes_keeps_what_has_come() -> None:
    model = Held("begun and never ended")
    async with play({"smol": model}) as playing:
        await playing.send("x")
        await playing.until_answered("begun")
    assert model.cancelled == 1
    (entry,) = history.entries()
    assert entry.answers[0]["state"] == "cancelled"
    assert entry.answers[0]["chains"][0]["log"] == [["begun", ""]]
