"""The Playground by keys, with scripted models in the place of servers: writing, sending, comparing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playing import Held, play
from scripted_catalog import choice
from scripted_model import ScriptedModel
from textual import events

from workbench.inference.generation import Completion, Delta, OnDelta, Request, Response
from workbench.tui.playground.answer_view import AnswerView
from workbench.tui.playground.picker import Picker


async def test_the_empty_tab_says_what_to_do(size: tuple[int, int]) -> None:
    async with play({}, size) as playing:
        await playing.until_shown("workbench pull SmolLM2-135M-Instruct")
        assert "choose a model" in playing.screen_text
        assert playing.fits()
        # Sending without a model leads to the choice of one.
        await playing.send("hello")
        picker = await playing.until_screen(Picker)
        await playing.until_shown("workbench pull")
        await playing.press("escape")
        await playing.until(lambda: playing.app.screen is not picker)
        assert playing.tab.writing.question == "hello"


async def test_a_prompt_is_sent_and_its_answer_streams(size: tuple[int, int]) -> None:
    model = Held("The sky is blue.")
    async with play({"smol": model}, size) as playing:
        await playing.send("Why?")
        await playing.until_answered("The")
        assert "sky" not in playing.answers[0]
        assert playing.tab.column.state == "running"
        playing.tab.backstage.call(model.going.set)
        await playing.done()
        assert "› Why?" in playing.answers[0] and "The sky is blue." in playing.answers[0]
        await playing.until(lambda: "4 tok" in playing.screen_text and "tok/s" in playing.screen_text)
        assert "first" in playing.screen_text
        (request,) = model.requests
        assert request.messages == ({"role": "user", "content": "Why?"},)
        assert request.logprobs == 5
        assert playing.fits()


async def test_a_conversation_goes_on_or_begins_anew() -> None:
    model = ScriptedModel(lambda request, index: f"answer {len(request.messages)}")
    async with play({"smol": model}) as playing:
        await playing.send("one")
        await playing.done()
        await playing.send("two")
        await playing.until_answered("answer 3")
        assert [message["content"] for message in model.requests[1].messages] == ["one", "answer 1", "two"]
        assert "› one" in playing.answers[0]
        await playing.done()
        await playing.press("escape", "n")
        assert playing.tab.column.state == "empty"
        await playing.send("three")
        await playing.done()
        assert len(model.requests[2].messages) == 1
        # c: every prompt on its own, and what was written stays for the next try.
        await playing.press("escape", "c")
        await playing.send("four")
        await playing.done()
        assert len(model.requests[3].messages) == 1
        assert playing.tab.writing.question == "four"


async def test_esc_cancels_at_the_server_and_r_sends_again() -> None:
    model = Held("never to be heard", "second time")
    async with play({"smol": model}) as playing:
        await playing.send("hello")
        await playing.until_answered("never")
        await playing.press("escape")
        await playing.done()
        assert playing.tab.column.state == "cancelled"
        assert model.cancelled == 1 and model.running == 0
        assert "cancelled" in playing.answers[0] and "to be heard" not in playing.answers[0]
        model.going.set()
        # Nothing was being written, so that keys are commands again.
        await playing.press("R")
        await playing.until_answered("second time")
        assert [request.messages[-1]["content"] for request in model.requests] == ["hello", "hello"]


async def test_new_lines_are_written_with_a_key_or_a_backslash() -> None:
    async with play({"smol": ScriptedModel(["ok"])}) as playing:
        await playing.press("enter", "a", "ctrl+o", "b")
        assert playing.tab.writing.question == "a\nb"
        playing.tab.writing.fill("")
        playing.tab.editor.show()
        await playing.press("c", "backslash", "enter", "d")
        assert playing.tab.writing.question == "c\nd"


async def test_columns_compare_models_on_one_prompt(size: tuple[int, int]) -> None:
    models = {"left": ScriptedModel(["from the left"]), "right": ScriptedModel(["from the right"])}
    async with play(models, size) as playing:
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await playing.press("m")
        picker = await playing.until_screen(Picker)
        await playing.until(lambda: len(picker.shown) == 3)
        await playing.write("righ")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.column.setup.model == choice("right"))
        await playing.send("who?")
        await playing.done()
        assert "from the left" in playing.answers[0] and "from the right" in playing.answers[1]
        regions = [pane.region for pane in playing.tab.panes]
        if size[0] == 80:
            assert regions[0].x == regions[1].x and regions[0].bottom <= regions[1].y
        else:
            assert regions[0].y == regions[1].y and regions[0].right <= regions[1].x
        await playing.press("escape", "tab")
        assert playing.tab.active == 0
        await playing.press("z")
        await playing.until(lambda: not playing.tab.panes[1].display or not playing.tab.panes[1].region)
        await playing.press("z", "minus")
        await playing.until(lambda: len(playing.tab.panes) == 1)
        assert "from the right" in playing.answers[0]


async def test_answers_are_laid_out_as_markdown_by_a_key(size: tuple[int, int]) -> None:
    sea = "# Sea\n\n*Also* [b]so[/b]."
    model = Held("# Sky\n\nIt is **blue**.\x1b[31m", sea, sea)
    async with play({"smol": model}, size) as playing:
        assert "M" not in playing.keys
        await playing.send("**Why?**")
        await playing.until_answered("#")
        await playing.press("ctrl+t", "M")
        # What is still on its way is shown as it comes.
        playing.tab.backstage.call(model.going.set)
        await playing.done()
        await playing.until(lambda: "It is blue.␛[31m" in playing.answers[0])
        assert "# Sky" not in playing.answers[0] and "› **Why?**" in playing.answers[0]
        assert "Markdown" in playing.screen_text and playing.keys["M"] == "Markdown"
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await playing.send("and?")
        await playing.done()
        for answer in playing.answers:
            assert "It is blue.␛[31m" in answer and "Also [b]so[/b]." in answer
        assert playing.fits()
        await playing.press("escape", "M")
        assert all("# Sky" in answer and "*Also* [b]so[/b]." in answer for answer in playing.answers)
        await playing.press("i")
        assert "M" not in playing.keys


async def test_four_columns_are_the_most() -> None:
    async with play({"smol": ScriptedModel(["a", "b", "c", "d"])}, (200, 60)) as playing:
        for _ in range(6):
            await playing.press("plus")
            await playing.pilot.pause()
        assert len(playing.tab.panes) == len(playing.tab.columns) == 4
        await playing.send("x")
        await playing.done()
        assert all(column.state == "done" for column in playing.tab.columns)


async def test_the_last_question_is_recalled_by_the_arrow() -> None:
    async with play({"smol": ScriptedModel(lambda request, index: "ok")}) as playing:
        for text in ("one", "two"):
            await playing.send(text)
            await playing.until(lambda: not playing.tab.busy and not playing.tab.writing.question)
        await playing.press("up")
        assert playing.tab.editor.area.text == "two"
        await playing.press("up")
        assert playing.tab.editor.area.text == "one"
        # What is changed is one's own again.
        await playing.press("x", "up")
        assert playing.tab.editor.area.text == "onex"


async def test_a_long_answer_costs_few_refreshes(monkeypatch: pytest.MonkeyPatch) -> None:
    words = 10_000

    class Flood(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            assert on_delta is not None
            for number in range(words):
                on_delta(Delta(0, f" w{number}"))
                if number % 20 == 0:
                    await asyncio.sleep(0.002)
            on_delta(Delta(0, finish_reason="stop"))
            return Response([Completion(text="", finish_reason="stop")])

    drawn = {"append": 0, "whole": 0}
    append, set_lines = AnswerView.append, AnswerView.set_lines
    beats = 0

    def count_append(self: AnswerView, spans: Any) -> None:
        drawn["append"] += 1
        append(self, spans)

    def count_whole(self: AnswerView, lines: Any) -> None:
        drawn["whole"] += 1
        set_lines(self, lines)

    monkeypatch.setattr(AnswerView, "append", count_append)
    monkeypatch.setattr(AnswerView, "set_lines", count_whole)
    async with play({"smol": Flood([])}, (80, 24)) as playing:
        looks = 0
        look = playing.tab.look

        def count_look() -> None:
            nonlocal looks
            looks += 1
            look()

        monkeypatch.setattr(playing.tab._looking, "_callback", count_look)
        drawn["whole"] = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        heart = asyncio.create_task(beat())
        await playing.send("x")
        await playing.done()
        heart.cancel()
        assert playing.answers[0].split()[-1] == f"w{words - 1}"
        assert playing.tab.column.num_tokens == words
        # As often as one looks, ten times a second, and never for every token.
        assert drawn["append"] <= looks and drawn["whole"] <= 6
        assert looks < words / 50
        assert beats > looks


async def test_without_colours_and_in_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    chances = {"sure": -0.01, " rare": -5.0}
    model = ScriptedModel(["sure rare"], logprob=lambda token: chances[token])
    async with play({"smol": model}) as playing:
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await playing.press("minus")
        await playing.until(lambda: len(playing.tab.panes) == 1)
        await playing.send("x")
        await playing.done()
        for view in "ivdspaM":
            await playing.press("escape", view)
            await playing.pilot.pause(0.05)
        await playing.press("m")
        await playing.until_screen(Picker)
        assert "smol" in playing.screen_text


async def test_idle_costs_nothing() -> None:
    async with play({"smol": ScriptedModel(["x"])}) as playing:
        await playing.send("x")
        await playing.done()
        await playing.until(lambda: not playing.tab._looking._active.is_set())
        assert not playing.tab._settling._active.is_set()
        assert not playing.tab.editor.area.cursor_blink


async def test_what_is_typed_ahead_goes_where_it_was_meant() -> None:
    model = ScriptedModel(lambda request, index: "ok")
    async with play({"smol": model}) as playing:
        # As fast as a terminal delivers what was pasted or typed while the program was busy.
        keys = ["enter", *"gone", "ctrl+u", *"one", "enter", *"two"]
        for key in keys:
            playing.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await playing.done()
        assert [request.messages[-1]["content"] for request in model.requests] == ["one"]
        await playing.until(lambda: playing.tab.writing.question == "two")
