"""Votes, tools, passages and settings in the Playground, by keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from playing import FEW_SHOT, TOOLS, VOTE, play
from scripted_model import ScriptedModel, calls

from workbench.inference.generation import Completion, OnDelta, Request, Response, ToolCall
from workbench.tui.form.editor import FormEditor
from workbench.tui.playground.settings_screen import SettingsScreen
from workbench.tui.widgets.text_lines import TextLines


async def test_a_vote_shows_its_histogram(size: tuple[int, int]) -> None:
    # The first of them is not of the majority, and stays as it is all the same.
    answers = iter([9, 7, 7, 7, 9, 7, 7, 7, 8, 7])
    model = ScriptedModel(lambda request, index: f"Let me think. The answer is {next(answers)}.")
    async with play({"smol": model}, size) as playing:
        await playing.use(VOTE)
        await playing.press("escape")
        await playing.until(lambda: playing.tab.column.setup.technique == [{"self_consistency": {}}])
        await playing.send("how many?")
        await playing.done()
        await playing.press("escape", "v")
        await playing.until_shown("agreement")
        vote = playing.tab.column.vote
        assert vote is not None and vote["votes"][0]["answer"] == "7"
        assert f"agreement {vote['agreement']:.0%}" in playing.screen_text
        assert f"{vote['finished']} of 10 chains" in playing.screen_text
        assert "█" in playing.screen_text
        counts = Counter(chain.answer for chain in playing.tab.column.chains.values() if chain.complete)
        assert counts == {entry["answer"]: entry["count"] for entry in vote["votes"]}
        # The chains are to be read one by one.
        chosen = playing.tab.column.chain
        await playing.press("right_square_bracket", "a")
        assert playing.tab.column.chain != chosen
        await playing.until(lambda: f"chain {playing.tab.column.chain + 1} of" in playing.screen_text)


async def test_the_histogram_grows_while_chains_run() -> None:
    gate = asyncio.Event()

    class Slowing(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            if len(self.requests) > 0:
                await gate.wait()
            return await super().generate(request, on_delta)

    said = iter(["1", "2", "1", "2", "1", "2", "1", "1", "1", "1"])
    async with play({"smol": Slowing(lambda request, index: next(said))}) as playing:
        await playing.use(VOTE)
        await playing.press("escape", "v")
        await playing.send("x")
        await playing.until_shown("6 of 10 chains")
        assert "agreement 50%" in playing.screen_text and "going on" in playing.screen_text
        playing.tab.backstage.call(gate.set)
        await playing.done()
        await playing.until_shown("decided")


def calling(request: Request, index: int) -> str | Completion:
    """Calls the calculator, and then says what it said."""
    results = [message["content"] for message in request.messages if message["role"] == "tool"]
    return f"It is {results[-1]}." if results else calls("calculator", '{"expression": "1234 * 5678"}')


async def test_a_tool_is_called_when_a_person_allows_it(size: tuple[int, int]) -> None:
    async with play({"smol": ScriptedModel(calling)}, size) as playing:
        await playing.use(TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.until(
            lambda: 'May it call calculator({"expression": "1234 * 5678"})?' in playing.screen_text
        )
        assert "y allow" in playing.screen_text
        assert playing.tab.column.state == "running"
        await playing.press("y")
        await playing.done()
        assert "→ calculator" in playing.answers[0] and "← 7006652" in playing.answers[0]
        assert "It is 7006652." in playing.answers[0]
        await playing.press("s")
        steps = playing.tab.panes[0].query_one(".steps", TextLines)
        await playing.until(lambda: "call #1  calculator" in steps.text)


async def test_a_refused_tool_is_not_called() -> None:
    async with play({"smol": ScriptedModel(calling)}) as playing:
        await playing.use(TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.press("n")
        await playing.done()
        assert "7006652" not in playing.answers[0]
        (result,) = (step for step in playing.tab.column.steps if step.kind == "tool_result")
        assert result.content["status"] == "denied"


async def test_whoever_is_writing_does_not_allow_a_tool_by_accident() -> None:
    gate = asyncio.Event()

    class Waiting(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            await gate.wait()
            return await super().generate(request, on_delta)

    async with play({"smol": Waiting(calling)}) as playing:
        await playing.use(TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.write("yes, and ")
        playing.tab.backstage.call(gate.set)
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.pilot.pause(0.2)
        await playing.write("any y")
        assert playing.tab.writing.question == "yes, and any y"
        assert playing.tab.column.pending is not None
        # esc leads to the question instead of cancelling.
        await playing.press("escape", "A")
        await playing.done()
        assert "7006652" in playing.answers[0]


async def test_cancelling_while_a_tool_waits_to_be_allowed() -> None:
    async with play({"smol": ScriptedModel(calling)}) as playing:
        await playing.use(TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.press("escape", "escape")
        await playing.done()
        assert playing.tab.column.state == "cancelled" and playing.tab.column.pending is None


async def test_passages_are_shown_with_scores_and_citations(tmp_path: Path, size: tuple[int, int]) -> None:
    documents = tmp_path / "manual"
    documents.mkdir()
    (documents / "tea.md").write_text("# Tea\n\nGreen tea wants water of seventy degrees.\n")
    (documents / "bread.md").write_text("# Bread\n\nBread wants an oven of 230 degrees \x1b[31m.\n")
    model = ScriptedModel(["Water of seventy degrees [1]. And more [7]."])
    async with play({"smol": model}, size) as playing:
        await playing.press("I")
        await playing.until(lambda: playing.tab.question.asked)
        playing.tab.question.value = str(documents)
        await playing.press("enter")
        await playing.until(lambda: playing.tab.question.asked and not playing.tab.question.value)
        await playing.press("enter")
        wanted = [{"rag": {"collection": "manual"}}]
        await playing.until(lambda: playing.tab.column.setup.technique == wanted, "ingested")
        await playing.send("What water does green tea want?")
        await playing.done()
        assert "[1] tea.md, line" in playing.answers[0]
        assert "[7] is no passage that it was given" in playing.answers[0]
        assert "seventy degrees" in model.requests[0].messages[-1]["content"]
        await playing.press("escape", "d")
        await playing.until_shown("bm25 #1")
        assert "cited" in playing.screen_text and "words alone decide" in playing.screen_text
        assert "\x1b" not in playing.screen_text


async def test_techniques_that_make_no_sense_are_refused_in_the_form() -> None:
    async with play({"smol": ScriptedModel(["x"])}, (120, 40)) as playing:
        await playing.use(FEW_SHOT)
        await playing.until_shown("either from a file or from examples")
        await playing.press("escape", "escape")
        await playing.until(lambda: not isinstance(playing.app.screen, SettingsScreen))
        assert playing.tab.column.setup.technique is None


async def test_sampling_goes_with_the_request_and_is_shown() -> None:
    model = ScriptedModel(["a", "b", "c"])
    async with play({"smol": model}, (120, 40)) as playing:
        await playing.press("r")
        screen = await playing.until_screen(SettingsScreen)
        await playing.press("down", "enter")
        await playing.write("0.7")
        await playing.press("enter")
        fields = screen.query_one(FormEditor).fields
        fields.current = "sampling.stop"
        await playing.press("enter")
        await playing.write("END, STOP")
        await playing.press("enter")
        fields.current = "request.samples"
        await playing.press("enter", "backspace")
        await playing.write("99")
        await playing.press("enter", "escape")
        await playing.until_shown("a whole number from 1 to 64")
        fields.current = "request.samples"
        await playing.press("enter", "backspace", "backspace")
        await playing.write("3")
        await playing.press("enter", "escape")
        await playing.until(lambda: not isinstance(playing.app.screen, SettingsScreen))
        assert playing.tab.column.setup.sampling == {"temperature": 0.7, "stop": ["END", "STOP"]}
        await playing.until_shown("temperature 0.7")
        await playing.send("x")
        await playing.done()
        (request,) = model.requests
        assert request.sampling.temperature == 0.7 and request.sampling.stop == ("END", "STOP")
        assert request.n == 3 and len(playing.tab.column.chains) == 3
        await playing.press("escape", "v")
        await playing.until_shown("chains")


def calling_twice(request: Request, index: int) -> str | Completion:
    """Makes two calls at once, and then says what they said."""
    results = [message["content"] for message in request.messages if message["role"] == "tool"]
    if results:
        return " and ".join(results)
    two = [ToolCall(f"call-{n}", "calculator", f'{{"expression": "{n} + 1"}}') for n in (1, 2)]
    return Completion(tool_calls=two)


async def test_calls_that_are_made_at_once_are_asked_for_one_after_the_other() -> None:
    async with play({"smol": ScriptedModel(calling_twice)}) as playing:
        await playing.use(TOOLS)
        await playing.press("escape")
        await playing.send("both")
        await playing.until_shown('May it call calculator({"expression": "1 + 1"})?')
        await playing.press("y")
        await playing.until_shown('May it call calculator({"expression": "2 + 1"})?')
        await playing.press("n")
        await playing.done()
        statuses = [step.content["status"] for step in playing.tab.column.steps if step.kind == "tool_result"]
        assert sorted(statuses) == ["denied", "ok"]
        await playing.press("R")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.press("A")
        await playing.done()
        assert "2 and 3" in playing.answers[0]
