"""The Playground by keys, with scripted models in the place of servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_catalog import ScriptedCatalog, choice
from scripted_model import ScriptedModel, calls, tokens
from textual.keys import _character_to_key
from textual.pilot import Pilot

from workbench.errors import ServerError
from workbench.inference.generation import Completion, OnDelta, Request, Response
from workbench.store import history
from workbench.tui.app import WorkbenchApp
from workbench.tui.playground.answer_view import AnswerView
from workbench.tui.playground.history_screen import HistoryScreen
from workbench.tui.playground.odds import OddsPane
from workbench.tui.playground.picker import Picker
from workbench.tui.playground.settings_screen import SettingsScreen
from workbench.tui.tabs.playground import PlaygroundTab

Until = Callable[..., Awaitable[None]]
TextOf = Callable[[WorkbenchApp], str]
HOSTILE = "a \x1b[31mred\x1b[0m [bold]word[/bold] \x1b]0;title\x07 \x9b2J end"


class Held(ScriptedModel):
    """Waits behind its first token until it is let go."""

    def __init__(self, *answers: str) -> None:
        super().__init__(list(answers))
        self.going = asyncio.Event()

    async def _stream(self, completions: Any, on_delta: OnDelta | None) -> None:
        for completion in completions:
            self._tell(completion, 0, on_delta)
        await self.going.wait()
        for position in range(1, max(len(tokens(one.text)) for one in completions) + 1):
            for completion in completions:
                self._tell(completion, position, on_delta)


class Playing:
    """The tab, and what tests do with it."""

    def __init__(self, pilot: Pilot[None], catalog: ScriptedCatalog, until: Until) -> None:
        self.pilot, self.catalog, self._until = pilot, catalog, until
        self.app = pilot.app
        assert isinstance(self.app, WorkbenchApp)

    @property
    def tab(self) -> PlaygroundTab:
        return self.app.screen_stack[0].query_one(PlaygroundTab)

    @property
    def answers(self) -> list[str]:
        return [pane.query_one(AnswerView).text for pane in self.tab.panes]

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        await self._until(self.pilot, condition, what)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*("space" if char == " " else _character_to_key(char) for char in text))

    async def send(self, text: str) -> None:
        """Write, send, and wait until something goes on or has come."""
        if not self.tab.editor.active:
            await self.press("enter")
        await self.type(text)
        await self.press("enter")

    async def done(self) -> None:
        await self.until(lambda: not self.tab.busy and self.tab.column.state != "empty", "all has come")
        await self.pilot.pause()

    async def screen(self, kind: type[Any]) -> Any:
        await self.until(lambda: isinstance(self.app.screen, kind), kind.__name__)
        return self.app.screen


Play = Callable[..., AbstractAsyncContextManager[Playing]]


@pytest.fixture
def play(until: Until, monkeypatch: pytest.MonkeyPatch) -> Play:
    """`play({"name": model}, size=…)`: the tab on scripted models, the first of them chosen."""

    @asynccontextmanager
    async def open_tab(models: Mapping[str, Any], size: tuple[int, int] = (80, 24), **options: Any) -> Any:
        catalog = ScriptedCatalog(models, **options)
        monkeypatch.setattr(PlaygroundTab, "make_catalog", lambda: catalog)
        monkeypatch.setattr(PlaygroundTab, "ALLOW_AFTER", 0.0)
        app = WorkbenchApp()
        async with app.run_test(size=size, notifications=True) as pilot:
            await pilot.press("4")
            playing = Playing(pilot, catalog, until)
            await playing.until(lambda: playing.tab.panes and playing.tab.panes[0].children)
            if models:
                await playing.until(lambda: playing.tab.column.setup.model is not None, "a model")
            await pilot.pause()
            yield playing

    return open_tab


async def test_the_empty_tab_says_what_to_do(play: Play, text_of: TextOf, size: tuple[int, int]) -> None:
    async with play({}, size) as playing:
        await playing.until(lambda: "workbench pull SmolLM2-135M-Instruct" in text_of(playing.app))
        assert "choose a model" in text_of(playing.app)
        assert all(len(line) <= size[0] for line in text_of(playing.app).splitlines())
        # Sending without a model leads to the choice of one.
        await playing.send("hello")
        picker = await playing.screen(Picker)
        await playing.until(lambda: "workbench pull" in text_of(playing.app))
        await playing.press("escape")
        await playing.until(lambda: playing.app.screen is not picker)
        assert playing.tab.writing.question == "hello"


async def test_a_prompt_is_sent_and_its_answer_streams(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    model = Held("The sky is blue.")
    async with play({"smol": model}, size) as playing:
        await playing.send("Why?")
        await playing.until(lambda: "The" in playing.answers[0], "the first token")
        assert "sky" not in playing.answers[0]
        assert playing.tab.column.state == "running"
        playing.tab.backstage.call(model.going.set)
        await playing.done()
        assert "› Why?" in playing.answers[0] and "The sky is blue." in playing.answers[0]
        await playing.until(lambda: "4 tok" in text_of(playing.app) and "tok/s" in text_of(playing.app))
        assert "first" in text_of(playing.app)
        (request,) = model.requests
        assert request.messages == ({"role": "user", "content": "Why?"},)
        assert request.logprobs == 5
        assert all(len(line) <= size[0] for line in text_of(playing.app).splitlines())


async def test_a_conversation_goes_on_or_begins_anew(play: Play) -> None:
    model = ScriptedModel(lambda request, index: f"answer {len(request.messages)}")
    async with play({"smol": model}) as playing:
        await playing.send("one")
        await playing.done()
        await playing.send("two")
        await playing.until(lambda: "answer 3" in playing.answers[0])
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


async def test_esc_cancels_at_the_server_and_r_sends_again(play: Play) -> None:
    model = Held("never to be heard", "second time")
    async with play({"smol": model}) as playing:
        await playing.send("hello")
        await playing.until(lambda: "never" in playing.answers[0])
        await playing.press("escape")
        await playing.done()
        assert playing.tab.column.state == "cancelled"
        assert model.cancelled == 1 and model.running == 0
        assert "cancelled" in playing.answers[0] and "to be heard" not in playing.answers[0]
        model.going.set()
        await playing.press("escape", "R")
        await playing.until(lambda: "second time" in playing.answers[0])
        assert [request.messages[-1]["content"] for request in model.requests] == ["hello", "hello"]


async def test_what_a_model_writes_is_shown_literally(play: Play, text_of: TextOf) -> None:
    async with play({"smol": ScriptedModel([HOSTILE])}) as playing:
        await playing.send("x")
        await playing.done()
        shown = "a ␛[31mred␛[0m [bold]word[/bold] ␛]0;title␇ �2J end"
        assert shown in playing.answers[0]
        for view, words in (("i", "␛[31mred␛[0m"), ("s", shown)):
            await playing.press("escape", view)
            await playing.until(lambda words=words: words in text_of(playing.app), view)  # type: ignore[misc]
            assert "\x1b" not in text_of(playing.app) and "\x9b" not in text_of(playing.app)


async def test_what_one_pastes_is_written_and_shown_literally(play: Play, text_of: TextOf) -> None:
    model = ScriptedModel(["ok"])
    async with play({"smol": model}) as playing:
        from textual.events import Paste

        playing.tab.place.post_message(Paste("two\nlines \x1b[31m[b]"))
        await playing.until(lambda: playing.tab.editor.active)
        await playing.until(lambda: "lines ␛[31m[b]" in text_of(playing.app))
        # In several lines enter is a line break, so that only ctrl+j sends.
        await playing.press("enter")
        assert playing.tab.writing.question == "two\nlines \x1b[31m[b]\n" and not model.requests
        await playing.press("ctrl+j")
        await playing.done()
        assert model.requests[0].messages[0]["content"] == "two\nlines \x1b[31m[b]\n"


async def test_new_lines_are_written_with_a_key_or_a_backslash(play: Play) -> None:
    async with play({"smol": ScriptedModel(["ok"])}) as playing:
        await playing.press("enter", "a", "ctrl+o", "b")
        assert playing.tab.writing.question == "a\nb"
        playing.tab.writing.fill("")
        playing.tab.editor.show()
        await playing.press("c", "backslash", "enter", "d")
        assert playing.tab.writing.question == "c\nd"


async def test_columns_compare_models_on_one_prompt(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    models = {"left": ScriptedModel(["from the left"]), "right": ScriptedModel(["from the right"])}
    async with play(models, size) as playing:
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await playing.press("m")
        picker = await playing.screen(Picker)
        await playing.until(lambda: len(picker.shown) == 3)
        await playing.type("righ")
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


async def test_four_columns_are_the_most(play: Play) -> None:
    async with play({"smol": ScriptedModel(["a", "b", "c", "d"])}, (200, 60)) as playing:
        for _ in range(6):
            await playing.press("plus")
            await playing.pilot.pause()
        assert len(playing.tab.panes) == len(playing.tab.columns) == 4
        await playing.send("x")
        await playing.done()
        assert all(column.state == "done" for column in playing.tab.columns)


async def choose_technique(playing: Playing, *places: int) -> SettingsScreen:
    """Switch on the techniques at these places of the list."""
    await playing.press("t")
    screen: SettingsScreen = await playing.screen(SettingsScreen)
    for place in places:
        await playing.press("home", *["down"] * place, "space")
    return screen


FEW_SHOT, COT, VOTE, TOOLS, RAG = range(5)


async def test_a_vote_shows_its_histogram(play: Play, text_of: TextOf, size: tuple[int, int]) -> None:
    answers = iter([7, 7, 9, 7, 9, 7, 7, 7, 8, 7])
    model = ScriptedModel(lambda request, index: f"Let me think. The answer is {next(answers)}.")
    async with play({"smol": model}, size) as playing:
        await choose_technique(playing, VOTE)
        await playing.press("escape")
        await playing.until(lambda: playing.tab.column.setup.technique == [{"self_consistency": {}}])
        await playing.send("how many?")
        await playing.done()
        await playing.press("escape", "v")
        await playing.until(lambda: "agreement" in text_of(playing.app))
        vote = playing.tab.column.vote
        assert vote is not None and vote["votes"][0]["answer"] == "7"
        assert f"agreement {vote['agreement']:.0%}" in text_of(playing.app)
        assert f"{vote['finished']} of 10 chains" in text_of(playing.app)
        assert "█" in text_of(playing.app)
        # The chains are to be read one by one.
        chosen = playing.tab.column.chain
        await playing.press("right_square_bracket", "a")
        assert playing.tab.column.chain != chosen
        await playing.until(lambda: f"chain {playing.tab.column.chain + 1} of" in text_of(playing.app))


async def test_the_histogram_grows_while_chains_run(play: Play, text_of: TextOf) -> None:
    gate = asyncio.Event()

    class Slowing(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            if len(self.requests) > 0:
                await gate.wait()
            return await super().generate(request, on_delta)

    said = iter(["1", "2", "1", "2", "1", "2", "1", "1", "1", "1"])
    async with play({"smol": Slowing(lambda request, index: next(said))}) as playing:
        await choose_technique(playing, VOTE)
        await playing.press("escape", "v")
        await playing.send("x")
        await playing.until(lambda: "6 of 10 chains" in text_of(playing.app))
        assert "agreement 50%" in text_of(playing.app) and "going on" in text_of(playing.app)
        playing.tab.backstage.call(gate.set)
        await playing.done()
        await playing.until(lambda: "decided" in text_of(playing.app))


def calling(request: Request, index: int) -> str | Completion:
    """Calls the calculator, and then says what it said."""
    results = [message["content"] for message in request.messages if message["role"] == "tool"]
    return f"It is {results[-1]}." if results else calls("calculator", '{"expression": "1234 * 5678"}')


async def test_a_tool_is_called_when_a_person_allows_it(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    async with play({"smol": ScriptedModel(calling)}, size) as playing:
        await choose_technique(playing, TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.until(
            lambda: 'May it call calculator({"expression": "1234 * 5678"})?' in text_of(playing.app)
        )
        assert "y allow" in text_of(playing.app)
        assert playing.tab.column.state == "running"
        await playing.press("y")
        await playing.done()
        assert "→ calculator" in playing.answers[0] and "← 7006652" in playing.answers[0]
        assert "It is 7006652." in playing.answers[0]
        await playing.press("s")
        await playing.until(
            lambda: "call #1  calculator" in playing.tab.panes[0].query(".steps").first().text
        )


async def test_a_refused_tool_is_not_called(play: Play) -> None:
    async with play({"smol": ScriptedModel(calling)}) as playing:
        await choose_technique(playing, TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.press("n")
        await playing.done()
        assert "7006652" not in playing.answers[0]
        (result,) = (step for step in playing.tab.column.steps if step.kind == "tool_result")
        assert result.content["status"] == "denied"


async def test_whoever_is_writing_does_not_allow_a_tool_by_accident(play: Play, text_of: TextOf) -> None:
    gate = asyncio.Event()

    class Waiting(ScriptedModel):
        async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
            await gate.wait()
            return await super().generate(request, on_delta)

    async with play({"smol": Waiting(calling)}) as playing:
        await choose_technique(playing, TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.type("yes, and ")
        playing.tab.backstage.call(gate.set)
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.pilot.pause(0.2)
        await playing.type("any y")
        assert playing.tab.writing.question == "yes, and any y"
        assert playing.tab.column.pending is not None
        # esc leads to the question instead of cancelling.
        await playing.press("escape", "A")
        await playing.done()
        assert "7006652" in playing.answers[0]


async def test_cancelling_while_a_tool_waits_to_be_allowed(play: Play) -> None:
    async with play({"smol": ScriptedModel(calling)}) as playing:
        await choose_technique(playing, TOOLS)
        await playing.press("escape")
        await playing.send("multiply")
        await playing.until(lambda: playing.tab.column.pending is not None)
        await playing.press("escape", "escape")
        await playing.done()
        assert playing.tab.column.state == "cancelled" and playing.tab.column.pending is None


async def test_passages_are_shown_with_scores_and_citations(
    play: Play, text_of: TextOf, tmp_path: Path, size: tuple[int, int]
) -> None:
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
        await playing.until(lambda: "bm25 #1" in text_of(playing.app))
        assert "cited" in text_of(playing.app) and "words alone decide" in text_of(playing.app)
        assert "\x1b" not in text_of(playing.app)


async def test_tokens_have_their_probability_and_rivals(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    chances = {"sure": -0.01, " so": -1.0, " rare": -5.0}
    model = ScriptedModel(["sure so rare"], logprob=lambda token: chances[token])
    async with play({"smol": model}, size) as playing:
        await playing.send("x")
        await playing.done()
        await playing.press("escape", "i")
        pane = playing.tab.panes[0].query_one(OddsPane)
        await playing.until(lambda: [cell.state for cell in pane.flow.cells] == ["sure", "open", "rare"])
        await playing.until(
            lambda: "token 1 of 3" in text_of(playing.app) and "99.0%" in text_of(playing.app)
        )
        await playing.press("right", "right")
        await playing.until(lambda: "“ rare”" in text_of(playing.app) and "0.7%" in text_of(playing.app))


async def test_an_answer_without_probabilities_says_so(play: Play, text_of: TextOf) -> None:
    async with play({"smol": ScriptedModel(["x"], logprob=None)}) as playing:
        await playing.send("x")
        await playing.done()
        await playing.press("escape", "i")
        await playing.until(lambda: "told no probabilities" in text_of(playing.app))


async def test_the_preview_shows_the_tokens_of_the_first_request(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    model = ScriptedModel(["x"])
    async with play({"smol": model}, size) as playing:
        await choose_technique(playing, COT)
        await playing.press("escape", "enter")
        await playing.type("Why?")
        await playing.press("escape", "p")
        await playing.until(lambda: playing.tab.preview.preview is not None)
        preview = playing.tab.preview.preview
        assert preview is not None and preview.technique == "cot"
        assert [text for _, text in preview.tokens][:4] == ["<|im_start|>", "user", "\n", "Why?"]
        assert "step by step" in preview.messages[0]["content"]
        await playing.until(lambda: f"{len(preview.tokens)} tokens" in text_of(playing.app))
        assert not model.requests
        # What is typed meanwhile shows.
        await playing.press("enter")
        await playing.type(" Really?")
        await playing.until(lambda: "Really?" in playing.tab.preview.preview.messages[0]["content"])


async def test_a_server_that_cannot_tell_tokens_has_its_messages_shown(play: Play, text_of: TextOf) -> None:
    async with play({"smol": ScriptedModel(["x"])}, tells_tokens=False) as playing:
        await playing.press("enter")
        await playing.type("Why?")
        await playing.press("escape", "p")
        await playing.until(lambda: "cannot tell the tokens: it has no /tokenize" in text_of(playing.app))
        assert "Why?" in text_of(playing.app)


async def test_an_engine_says_what_it_is_at_and_what_it_failed_of(play: Play, text_of: TextOf) -> None:
    models = {"smol": ScriptedModel(["hello"])}
    async with play(models, loading=["loading weights", "choosing how to run it"]) as playing:
        await playing.send("hi")
        await playing.until(lambda: "loading weights" in text_of(playing.app))
        await playing.until(lambda: "choosing how to run it" in text_of(playing.app))
        await playing.done()
        assert "hello" in playing.answers[0]
        del playing.catalog.scripted["smol"]
        await playing.send("again")
        await playing.done()
        assert playing.tab.column.state == "failed"
        assert "there is no such model" in playing.answers[0] and "try: name another" in playing.answers[0]


async def test_an_engine_that_dies_is_said_so_and_started_again(play: Play, text_of: TextOf) -> None:
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
        await playing.until(lambda: "alive" in playing.answers[0])
        await playing.done()
        assert playing.catalog.opened == ["smol", "smol"]
        # It dies while nothing is asked: the column says so, and one key starts it.
        playing.tab._engine_gone(choice("smol"), ServerError("the engine has ended"))
        await playing.until(lambda: "no engine; g starts it" in text_of(playing.app))
        assert "alive" in playing.answers[0]
        await playing.press("escape", "g")
        await playing.until(lambda: playing.catalog.opened == ["smol"] * 3)
        await playing.until(lambda: "no engine" not in text_of(playing.app))


async def test_dead_engines_are_noticed_while_nothing_is_asked(
    play: Play, text_of: TextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.tui.playground.catalog.WATCH_SECONDS", 0.05)
    async with play({"smol": ScriptedModel(["x"])}) as playing:
        await playing.send("x")
        await playing.done()
        playing.catalog.dead["smol"] = ServerError("the engine has ended")
        await playing.until(lambda: "The next prompt starts the engine again" in text_of(playing.app))


async def test_sampling_goes_with_the_request_and_is_shown(play: Play, text_of: TextOf) -> None:
    model = ScriptedModel(["a", "b", "c"])
    async with play({"smol": model}, (120, 40)) as playing:
        await playing.press("r")
        screen = await playing.screen(SettingsScreen)
        await playing.press("down", "enter")
        await playing.type("0.7")
        await playing.press("enter")
        fields = screen.query_one("FormEditor").fields
        fields.current = "sampling.stop"
        await playing.press("enter")
        await playing.type("END, STOP")
        await playing.press("enter")
        fields.current = "request.samples"
        await playing.press("enter", "backspace")
        await playing.type("99")
        await playing.press("enter", "escape")
        await playing.until(lambda: "a whole number from 1 to 64" in text_of(playing.app))
        fields.current = "request.samples"
        await playing.press("enter", "backspace", "backspace")
        await playing.type("3")
        await playing.press("enter", "escape")
        await playing.until(lambda: not isinstance(playing.app.screen, SettingsScreen))
        assert playing.tab.column.setup.sampling == {"temperature": 0.7, "stop": ["END", "STOP"]}
        await playing.until(lambda: "temperature 0.7" in text_of(playing.app))
        await playing.send("x")
        await playing.done()
        (request,) = model.requests
        assert request.sampling.temperature == 0.7 and request.sampling.stop == ("END", "STOP")
        assert request.n == 3 and len(playing.tab.column.chains) == 3
        await playing.press("escape", "v")
        await playing.until(lambda: "chains" in text_of(playing.app))


async def test_techniques_that_make_no_sense_are_refused_in_the_form(play: Play, text_of: TextOf) -> None:
    async with play({"smol": ScriptedModel(["x"])}, (120, 40)) as playing:
        await choose_technique(playing, FEW_SHOT)
        await playing.until(lambda: "either from a file or from examples" in text_of(playing.app))
        await playing.press("escape", "escape")
        await playing.until(lambda: not isinstance(playing.app.screen, SettingsScreen))
        assert playing.tab.column.setup.technique is None


async def test_a_prompt_file_has_a_field_for_each_variable(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
    model = ScriptedModel(["short", "shorter"])
    async with play({"smol": model}, size) as playing:
        await playing.press("o")
        picker = await playing.screen(Picker)
        await playing.until(lambda: picker.shown)
        await playing.type("rewrite")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.writing.name == "rewrite")
        names = [slot.name for slot in playing.tab.writing.slots]
        assert names[0] == "text" and {"persona", "manner", "system"} <= set(names)
        assert "anew each time" in text_of(playing.app)
        await playing.until(lambda: playing.tab.editor.active)
        await playing.type("A long text")
        for _ in range(names.index("persona")):
            await playing.press("tab")
        await playing.press("ctrl+u")
        await playing.type("a poet")
        await playing.press("ctrl+j")
        await playing.done()
        system, user = model.requests[0].messages
        assert "You are a poet." in system["content"] and user["content"] == "A long text"
        assert model.requests[0].sampling.temperature == 0.7
        # Asked again it is asked anew, with what was written still there.
        await playing.press("ctrl+j")
        await playing.until(lambda: len(model.requests) == 2)
        assert model.requests[1].messages == model.requests[0].messages


async def test_what_must_be_filled_in_is_asked_for(play: Play, text_of: TextOf) -> None:
    model = ScriptedModel(["x"])
    async with play({"smol": model}) as playing:
        await playing.press("o")
        await playing.screen(Picker)
        await playing.type("qa-context")
        await playing.press("enter")
        await playing.until(lambda: playing.tab.writing.name == "qa-context")
        await playing.until(lambda: playing.tab.editor.active)
        await playing.press("ctrl+j")
        await playing.until(lambda: "is still empty" in text_of(playing.app))
        assert not model.requests and playing.tab.column.state == "empty"


async def test_a_prompt_is_edited_and_saved(
    play: Play, home: Path, monkeypatch: pytest.MonkeyPatch, text_of: TextOf
) -> None:
    seen: list[str] = []
    texts = iter(["user: '{{ oops'\n", "# Mine\nsystem: Be terse.\nuser: 'Say {{ word }}'\n"])

    def edit(app: Any, text: str, name: str) -> str:
        seen.append(text)
        return next(texts)

    monkeypatch.setattr("workbench.tui.playground.choosing.edit", edit)
    model = ScriptedModel(["ok"])
    async with play({"smol": model}, (120, 40)) as playing:
        await playing.press("e")
        await playing.until(lambda: "the template cannot be read" in text_of(playing.app))
        # What was wrong is there to be mended.
        await playing.press("e")
        await playing.until(lambda: playing.tab.writing.prompt is not None)
        assert seen[1] == "user: '{{ oops'\n"
        assert [slot.name for slot in playing.tab.writing.slots] == ["word", "system"]
        await playing.until(lambda: playing.tab.editor.active)
        await playing.press("escape", "w")
        await playing.until(lambda: playing.tab.question.asked)
        await playing.type("mine")
        await playing.press("enter")
        await playing.until(lambda: (home / "prompts" / "mine.yaml").exists())
        await playing.until(lambda: playing.tab.writing.name == "mine")
        await playing.until(lambda: playing.tab.editor.active)
        await playing.type("hi")
        await playing.press("ctrl+j")
        await playing.done()
        assert [message["content"] for message in model.requests[0].messages] == ["Be terse.", "Say hi"]


async def test_history_is_searched_opened_and_sent_again(
    play: Play, text_of: TextOf, size: tuple[int, int]
) -> None:
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
        screen: HistoryScreen = await playing.screen(HistoryScreen)
        await playing.until(lambda: [entry.question for entry in screen.entries] == ["pears", "apples"])
        assert "left on pears" in text_of(playing.app)
        await playing.press("slash")
        await playing.type("LEFT apples")
        await playing.until(lambda: "1 sent with" in text_of(playing.app))
        await playing.press("down", "enter", "enter")
        await playing.until(lambda: playing.tab.column.question == "apples")
        assert "left on apples" in playing.answers[0] and playing.tab.column.state == "done"
        await playing.press("h")
        screen = await playing.screen(HistoryScreen)
        await playing.until(lambda: screen.entries)
        await playing.press("y")
        assert playing.app.clipboard == "left on pears"
        await playing.press("R")
        await playing.until(lambda: playing.tab.column.state == "done" and playing.tab.sent[-1] == "pears")
        await playing.until(lambda: "left on pears" in playing.answers[0])


async def test_columns_come_back_as_they_stood(play: Play) -> None:
    said = iter(["1", "1", "1", "1", "1", "1", "1", "1", "1", "1"])
    models = {"smol": ScriptedModel(lambda request, index: next(said, "plain"))}
    async with play(models, (200, 60)) as playing:
        await playing.press("plus")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        await choose_technique(playing, VOTE)
        await playing.press("escape")
        await playing.send("x")
        await playing.done()
        before = [column.as_record() for column in playing.tab.columns]
        await playing.press("escape", "minus")
        await playing.until(lambda: len(playing.tab.panes) == 1)
        await playing.press("n", "h")
        screen = await playing.screen(HistoryScreen)
        await playing.until(lambda: screen.entries and len(screen.entries[0].answers) == 2)
        await playing.press("enter")
        await playing.until(lambda: len(playing.tab.panes) == 2)
        after = [column.as_record() for column in playing.tab.columns]
        for old, new in zip(before, after, strict=True):
            for key in ("setup", "state", "technique", "chain", "tokens", "steps"):
                assert new[key] == old[key], key
        assert playing.tab.columns[1].vote is not None


async def test_the_last_question_is_recalled_by_the_arrow(play: Play) -> None:
    async with play({"smol": ScriptedModel(lambda request, index: "ok")}) as playing:
        for text in ("one", "two"):
            await playing.send(text)
            await playing.until(lambda: not playing.tab.busy and not playing.tab.writing.question)
        await playing.press("up")
        await playing.until(lambda: playing.tab.editor.area.text == "two")


async def test_a_long_answer_costs_few_refreshes(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    words = 10_000
    model = ScriptedModel([" ".join(f"w{number}" for number in range(words))])
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
    async with play({"smol": model}, (80, 24)) as playing:
        looks = 0
        look = playing.tab.look

        def count_look() -> None:
            nonlocal looks
            looks += 1
            look()

        monkeypatch.setattr(playing.tab._looking, "_callback", count_look)
        drawn["whole"] = 0
        await playing.send("x")
        while playing.tab.busy:
            await playing.pilot.pause(0.01)
            beats += 1
        await playing.done()
        assert playing.answers[0].split()[-1] == f"w{words - 1}"
        assert playing.tab.column.num_tokens == words
        # As often as one looks, ten times a second, and never for every token.
        assert drawn["append"] <= looks and drawn["whole"] <= 6
        assert looks < words / 50
        assert beats > looks


async def test_without_colours_and_in_sixteen(
    play: Play, text_of: TextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        for view in "ivdspa":
            await playing.press("escape", view)
            await playing.pilot.pause(0.05)
        await playing.press("m")
        await playing.screen(Picker)
        assert "smol" in text_of(playing.app)


async def test_idle_costs_nothing(play: Play) -> None:
    async with play({"smol": ScriptedModel(["x"])}) as playing:
        await playing.send("x")
        await playing.done()
        await playing.until(lambda: not playing.tab._looking._active.is_set())
        assert not playing.tab._settling._active.is_set()
        assert not playing.tab.editor.area.cursor_blink


async def test_leaving_while_an_answer_comes_keeps_what_has_come(play: Play) -> None:
    model = Held("begun and never ended")
    async with play({"smol": model}) as playing:
        await playing.send("x")
        await playing.until(lambda: "begun" in playing.answers[0])
    assert model.cancelled == 1
    (entry,) = history.entries()
    assert entry.answers[0]["state"] == "cancelled"
    assert entry.answers[0]["chains"][0]["log"] == [["begun", ""]]
