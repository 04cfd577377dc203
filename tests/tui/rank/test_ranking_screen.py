"""The ranking screen by its keys: what is seen, what is typed ahead, what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranking_screen import decisions, order_of, ranker_of, tab_of, view_of
from ranking_sessions import session_of

from workbench.store.preferences import database as database_module
from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Settings, add_item, add_prompts, create_session
from workbench.tui.app import WorkbenchApp
from workbench.tui.rank.answers import Answers

MARKDOWN = "## Title\n\n- one **bold** word\n\n```\ncode\n```\n"


def session_with(database: Database, *answers: str, prompt: Any = "a question") -> None:
    """A session of one prompt with these answers, by as many models."""
    session = create_session(database, "tests", Settings(repeated=0.0, criteria="true, then short"), seed=7)
    add_item(
        database, session, Prompt(prompt), [Answer(text, f"secret-{n}") for n, text in enumerate(answers)]
    )


async def test_ranking_by_keys_alone(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any, size: Any
) -> None:
    session_of(database, 4)
    async with rank_app.run_test(size=size) as pilot:
        await opened(pilot)
        screen = text_of(rank_app)
        assert "› prompt 0" in screen and "0 done · 4 left" in screen
        beside = size[0] > 100
        assert view_of(rank_app).answers.columns == (4 if beside else 1)
        await pilot.press("3", "1", "equals_sign", "4")
        await until(pilot, lambda: order_of(rank_app) == "3 > 1 = 4 > 2   enter commits it")
        screen = text_of(rank_app)
        assert "2nd =" in screen and "best" in screen and "3rd" in screen
        await pilot.press("enter")
        await until(pilot, lambda: "1 done · 3 left" in text_of(rank_app))
        assert decisions() == [("rank", (2, 3, 1, 2))]
        # All typed ahead, in one go: each goes to the answers it was meant for.
        await pilot.press("1", "2", "3", "enter", "x", "enter", "s", "u", "u", "4", "b", "enter", "s")
        await until(pilot, lambda: "All 4 are decided" in text_of(rank_app))
        assert decisions()[1:] == [("rank", (1, 2, 3, 4)), ("best-only", (2, 2, 2, 1)), ("skip", ())]
        # Numbers do not change the tab, not even where there is nothing to rank.
        await pilot.press("1", "u")
        await until(pilot, lambda: "undone: the skip" in text_of(rank_app))
        await pilot.press("escape")
        await until(pilot, lambda: tab_of(rank_app).table.has_focus)
        await until(pilot, lambda: "eve 3" in text_of(rank_app))


async def test_what_answers_say_is_shown_as_it_is(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    evil = "\x1b[31mred\x1b]0;title\x07[bold]not bold[/bold] \u202eright to left"
    session_with(
        database,
        MARKDOWN,
        evil,
        prompt=[
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "reply\x1b[2J"},
            {"role": "user", "content": "second"},
        ],
    )
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        screen = text_of(rank_app)
        assert "␛[31mred␛]0;title␇[bold]not bold[/bold] �right to left" in screen
        assert "• one bold word" in screen and "│ code" in screen and "##" not in screen
        assert "secret" not in screen
        assert "better: true, then short" in screen and "system  be short" in screen
        assert "› first" in screen and "reply␛[2J" in screen and "› second" in screen
        await pilot.press("m")
        await until(pilot, lambda: "- one **bold** word" in text_of(rank_app))


async def test_a_very_long_answer_is_cut_and_more_of_it_shown_on_demand(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    long = "".join(f"line {number}\n" for number in range(60_000))
    session_with(database, long, "short", "word " * 100_000)
    async with rank_app.run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        panes = view_of(rank_app).answers.panes
        rows = [len(pane.body._rows) for pane in panes]
        assert max(rows) < 1_000
        at = next(number for number, pane in enumerate(panes) if pane.text == long)
        await pilot.press(*["tab"] * at, "z", "end")
        # Whoever scrolls reads on.
        await until(pilot, lambda: len(panes[at].body._rows) > 3 * rows[at])
        while panes[at].limit < 64_000:
            await pilot.press("end")
            await pilot.pause()
        await pilot.press("end")
        await until(pilot, lambda: "64,000 of 648,890 characters; > shows more" in text_of(rank_app))
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: panes[at].limit == 256_000 and "> more" in text_of(rank_app))


async def test_differences_focus_layout_and_scrolling(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    texts = ["the same line\n" * 60 + f"and {word}" for word in ("red", "blue", "green")]
    session_with(database, *texts)
    async with rank_app.run_test(size=(160, 30)) as pilot:
        await opened(pilot)
        view = view_of(rank_app)
        answers = view.query_one(Answers)
        assert answers.columns == 3
        await pilot.press("j", "j")
        await until(pilot, lambda: [pane.body.scroll_offset.y for pane in answers.panes] == [2, 0, 0])
        await pilot.press("c", "pagedown")
        await until(pilot, lambda: min(pane.body.scroll_offset.y for pane in answers.panes) > 2)
        await pilot.press("home", "d", "tab")
        await until(pilot, lambda: [pane.alike is None for pane in answers.panes] == [False, True, False])
        assert "% alike" in text_of(rank_app)
        # The only difference is at the end of the long text: there it goes.
        await until(pilot, lambda: answers.panes[0].body.scroll_offset.y > 30)
        marked = answers.panes[0].marked
        assert marked is not None
        assert [text for text, role in marked if "good" in role] == [answers.panes[0].text.split()[-1]]
        await pilot.press("d", "l")
        await until(pilot, lambda: answers.columns == 1 and answers.panes[0].marked is None)
        await pilot.press("z")
        await until(pilot, lambda: [pane.display for pane in answers.panes] == [False, True, False])
        await pilot.press("escape", "escape")
        await until(pilot, lambda: tab_of(rank_app).table.has_focus)


async def test_flags_notes_and_the_way_back(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    session_of(database, 3)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("1", "f", "e")
        # Typed at once: it is text, and none of it a command.
        await pilot.press(*"sux 1", "enter")
        await until(pilot, lambda: "note  sux 1" in text_of(rank_app))
        assert "flagged" in order_of(rank_app) and "1 > …" in order_of(rank_app)
        await pilot.press("2", "3", "enter", "left_square_bracket")
        await until(pilot, lambda: "decided   enter goes on   flagged" in order_of(rank_app))
        await pilot.press("e", "x", "escape", "right_square_bracket")
        await until(pilot, lambda: "best first" in order_of(rank_app))
        assert ranker_of(rank_app).task is not None and len(decisions()) == 1


async def test_a_locked_database_is_said_on_the_screen(
    rank_app: WorkbenchApp,
    database: Database,
    opened: Any,
    until: Any,
    text_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    session_of(database, 2)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("2", "1", "3")
        await until(pilot, lambda: "2 > 1 > 3 > 4" in order_of(rank_app))
        with database.transaction():
            # What is typed behind it was meant for the next answers, and must not change these.
            await pilot.press("enter", "4")
            await until(pilot, lambda: "another process has been writing" in text_of(rank_app))
            assert "2 > 1 > 3 > 4" in text_of(rank_app) and "0 done" in text_of(rank_app)
        await pilot.press("enter")
        await until(pilot, lambda: "1 done" in text_of(rank_app))
        assert "another process" not in text_of(rank_app) and decisions() == [("rank", (2, 1, 3, 4))]


async def test_waiting_for_answers_that_are_generated(
    rank_app: WorkbenchApp,
    database: Database,
    opened: Any,
    until: Any,
    text_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from workbench.prompting.ranking import control
    from workbench.prompting.ranking.status import GenerationStatus

    state = GenerationStatus("running", "3 of 4 answers", 3, 4)
    monkeypatch.setattr(control, "ensure_generating", lambda session, again=False: state)
    monkeypatch.setattr(control, "generation_status", lambda session: state)
    session = create_session(database, "tests", Settings(("a", "b"), repeated=0.0), seed=7)
    first, second = add_prompts(database, session, [Prompt("first"), Prompt("second")])
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "answers to 2 prompts are being generated" in text_of(rank_app))
        assert "running: 3 of 4 answers" in text_of(rank_app)
        from workbench.store.preferences.sessions import add_answers

        add_answers(database, session, first, [Answer("one", "a"), Answer("two", "b")])
        await until(pilot, lambda: "› first" in text_of(rank_app))
        assert "1 to come" in text_of(rank_app)
        await pilot.press("1", "enter")
        await until(pilot, lambda: "answers to 1 prompt are" in text_of(rank_app))
        state.state, state.message = "failed", "the engine is gone"
        await until(pilot, lambda: "failed: the engine is gone" in text_of(rank_app))
        assert "g  has them made" in text_of(rank_app)
        add_answers(database, session, second, [Answer("one", "a"), Answer("two", "b")])
        await until(pilot, lambda: "› second" in text_of(rank_app))


async def test_what_is_typed_before_leaving_is_done(
    rank_app: WorkbenchApp, database: Database, opened: Any, home: Path
) -> None:
    session_of(database, 2)
    async with rank_app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("1", "2", "3", "enter", "q")
    assert decisions() == [("rank", (1, 2, 3, 4))]


async def test_nine_answers_are_all_there_in_the_smallest_terminal(
    rank_app: WorkbenchApp, database: Database, opened: Any, until: Any, text_of: Any
) -> None:
    session_with(database, *(f"word{number} " * 60 for number in range(9)), prompt="a long prompt " * 60)
    async with rank_app.run_test(size=(60, 14)) as pilot:
        await opened(pilot)
        await pilot.press("p", "9")
        await until(pilot, lambda: order_of(rank_app).startswith("9 > …"))
        heads = [row.split()[0] for row in text_of(rank_app).splitlines()[3:12]]
        assert heads == [str(number) for number in range(1, 10)]
