"""Tokens and literal text in the Playground: probabilities, previews, escapes, markup."""

from __future__ import annotations

from playing import COT, play
from scripted_model import ScriptedModel

from workbench.tui.playground.odds import OddsPane

HOSTILE = "a \x1b[31mred\x1b[0m [bold]word[/bold] \x1b]0;title\x07 \x9b2J end"


async def test_what_a_model_writes_is_shown_literally() -> None:
    async with play({"smol": ScriptedModel([HOSTILE])}) as playing:
        await playing.send("x")
        await playing.done()
        shown = "a ␛[31mred␛[0m [bold]word[/bold] ␛]0;title␇ �2J end"
        assert shown in playing.answers[0]
        for view, words in (("i", "␛[31mred␛[0m"), ("s", shown)):
            await playing.press("escape", view)
            await playing.until(lambda words=words: words in playing.screen_text, view)  # type: ignore[misc]
            assert "\x1b" not in playing.screen_text and "\x9b" not in playing.screen_text


async def test_what_one_pastes_is_written_and_shown_literally() -> None:
    model = ScriptedModel(["ok"])
    async with play({"smol": model}) as playing:
        from textual.events import Paste

        playing.tab.place.post_message(Paste("two\nlines \x1b[31m[b]"))
        await playing.until(lambda: playing.tab.editor.active)
        await playing.until_shown("lines ␛[31m[b]")
        # In several lines enter is a line break, so that only ctrl+j sends.
        await playing.press("enter")
        assert playing.tab.writing.question == "two\nlines \x1b[31m[b]\n" and not model.requests
        await playing.press("ctrl+j")
        await playing.done()
        assert model.requests[0].messages[0]["content"] == "two\nlines \x1b[31m[b]\n"


async def test_tokens_have_their_probability_and_rivals(size: tuple[int, int]) -> None:
    chances = {"sure": -0.01, " so": -1.0, " rare": -5.0}
    model = ScriptedModel(["sure so rare"], logprob=lambda token: chances[token])
    async with play({"smol": model}, size) as playing:
        await playing.send("x")
        await playing.done()
        await playing.press("escape", "i")
        pane = playing.tab.panes[0].query_one(OddsPane)
        await playing.until(lambda: [cell.state for cell in pane.flow.cells] == ["sure", "open", "rare"])
        await playing.until(lambda: "token 1 of 3" in playing.screen_text and "99.0%" in playing.screen_text)
        await playing.press("right", "right")
        await playing.until(lambda: "“ rare”" in playing.screen_text and "0.7%" in playing.screen_text)


async def test_an_answer_without_probabilities_says_so() -> None:
    async with play({"smol": ScriptedModel(["x"], logprob=None)}) as playing:
        await playing.send("x")
        await playing.done()
        await playing.press("escape", "i")
        await playing.until_shown("told no probabilities")


async def test_the_preview_shows_the_tokens_of_the_first_request(size: tuple[int, int]) -> None:
    model = ScriptedModel(["x"])
    async with play({"smol": model}, size) as playing:
        await playing.use(COT)
        await playing.press("escape", "enter")
        await playing.write("Why?")
        await playing.press("escape", "p")
        await playing.until(lambda: playing.tab.preview.preview is not None)
        preview = playing.tab.preview.preview
        assert preview is not None and preview.technique == "cot"
        assert [token.text for token in preview.tokens][:4] == ["<|im_start|>", "user", "\n", "Why?"]
        assert "step by step" in preview.messages[0]["content"]
        await playing.until(lambda: f"{len(preview.tokens)} tokens" in playing.screen_text)
        assert not model.requests
        # What is typed meanwhile shows.
        await playing.press("enter")
        await playing.write(" Really?")
        await playing.until(lambda: "Really?" in str(playing.tab.preview.preview))


async def test_a_server_that_cannot_tell_tokens_has_its_messages_shown() -> None:
    async with play({"smol": ScriptedModel(["x"])}, tells_tokens=False) as playing:
        await playing.press("enter")
        await playing.write("Why?")
        await playing.press("escape", "p")
        await playing.until_shown("cannot tell the tokens: it has no /tokenize")
        assert "Why?" in playing.screen_text
