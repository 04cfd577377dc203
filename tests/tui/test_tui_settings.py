"""Keys, themes and symbols of the user's own, wrong ones too; small terminals; terminals without colour."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color as RichColor
from textual.color import Color

from workbench.tui.app import WorkbenchApp
from workbench.tui.settings import load_settings
from workbench.tui.widgets.help_screen import HelpScreen
from workbench.tui.widgets.too_small import TooSmall


async def test_key_overrides(home: Path, make_run: Any, until: Any, text_of: Any, train_tab: Any) -> None:
    make_run("one", steps=3)
    (home / "keys.yaml").write_text("train.delete: f9\napp.quit: [ctrl+x, Q]\nchart.log_y: Y\n")
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "one")
        assert app.problems == []
        await pilot.press("D", "q")
        await pilot.pause()
        assert len(app.screen_stack) == 1 and app.return_code is None
        await pilot.press("f9")
        await until(pilot, lambda: "Delete one?" in text_of(app))
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape", "Q")
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("keys.yaml", "train.stop: S\ntrain.stpo: S\n", ["train.stpo", "keys.yaml, line 2", "train.stop"]),
        ("keys.yaml", "train.stop: [\n", ["not valid YAML", "keys.yaml, line 2"]),
        ("keys.yaml", "train.stop: 'a b'\n", ["is no key", "line 1"]),
        ("keys.yaml", "train.sort: n\n", ["train.new", "keys.yaml"]),
        ("settings.yaml", "symbols: blok\n", ["blok", "settings.yaml, line 1", "block"]),
        ("settings.yaml", "theme: nord\ncolour: 1\n", ["colour", "settings.yaml, line 2"]),
        ("settings.yaml", "- a\n", ["settings.yaml, line 1"]),
    ],
)
async def test_mistakes_are_named_with_file_and_line(
    home: Path, until: Any, text_of: Any, name: str, content: str, said: list[str]
) -> None:
    home.mkdir()
    (home / name).write_text(content)
    app = WorkbenchApp()
    async with app.run_test(size=(160, 40), notifications=True) as pilot:
        await until(pilot, lambda: "where:" in text_of(app))
        # On the screen long paths are broken over lines.
        shown = "\n".join(notification.message for notification in app._notifications)
        for words in said:
            assert words in shown, words


async def test_theme_and_symbols_are_remembered(home: Path, make_run: Any, until: Any, text_of: Any) -> None:
    make_run("one", steps=9)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "one" in text_of(app))
        app.theme = "gruvbox"
        await pilot.press("f3", "f3")
        await until(pilot, lambda: load_settings(app.available_themes).symbols == "ascii")
        await until(pilot, lambda: load_settings(app.available_themes).theme == "gruvbox")
    again = WorkbenchApp()
    async with again.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "one" in text_of(again))
        assert again.theme == "gruvbox"
        # Nothing but ASCII is drawn where that was asked for; the words may hold signs.
        await until(pilot, lambda: "+ finished" in text_of(again))
        body = "\n".join(text_of(again).splitlines()[3:-1])
        assert body.isascii(), body


async def test_read_only_home_keeps_going(
    home: Path, make_run: Any, until: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("one", steps=9)
    (home / "settings.yaml").mkdir()
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: "where:" in text_of(app))
        app.clear_notifications()
        await until(pilot, lambda: "where:" not in text_of(app))
        await pilot.press("f3")
        await until(pilot, lambda: any("settings.yaml" in note.message for note in app._notifications))


async def test_too_small_until_it_grows(make_run: Any, until: Any, text_of: Any, train_tab: Any) -> None:
    make_run("one", steps=9)
    app = WorkbenchApp()
    async with app.run_test(size=(20, 5)) as pilot:
        await until(pilot, lambda: "too small: 20×5" in text_of(app))
        assert "need" in text_of(app) and "q quits" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "finished" in text_of(app))
        await pilot.press("question_mark")
        await pilot.resize_terminal(59, 13)
        await until(pilot, lambda: "The terminal is too small: 59×13" in text_of(app))
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.resize_terminal(20, 5)
        await until(pilot, lambda: isinstance(app.screen, TooSmall))
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize("size", [(60, 14), (80, 24), (100, 34), (150, 34), (149, 40), (300, 80)])
async def test_many_sizes(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, size: tuple[int, int]
) -> None:
    for number in range(30):
        make_run(f"a-rather-long-name-of-a-run-{number}", steps=5)
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: train_tab(app).grid.charts[0].series_keys)
        await pilot.press("end")
        await until(pilot, lambda: "a-rather-long-n" in text_of(app))
        await until(pilot, lambda: any("▸" in line for line in text_of(app).splitlines()))
        charts = train_tab(app).grid.charts
        await until(pilot, lambda: all(chart.size.height >= 5 for chart in charts))
        assert "? help" in text_of(app).splitlines()[-1]


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
async def test_few_colours(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv(variable, "1" if variable == "NO_COLOR" else "xterm")
    make_run("one", steps=9)
    make_run("two", steps=9)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).grid.charts[0].series_keys)
        assert app.theme == "ansi-dark"
        await pilot.press("space", "j", "p", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape", "D", "escape", "n")
        await until(pilot, lambda: "quickstart" in text_of(app))
        if variable == "NO_COLOR":
            background = Color.parse("black")
            nothing = (None, RichColor.parse("default"))
            for strip in app.screen._compositor.render_strips():
                for segment in strip.apply_filter(app.get_line_filters()[-1], background):
                    assert segment.style is None or segment.style.color in nothing
                    assert segment.style is None or segment.style.bgcolor in nothing


async def test_nothing_is_drawn_when_nothing_changes(
    make_run: Any, until: Any, train_tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("one", state="running", steps=9)
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        tab = train_tab
        await until(pilot, lambda: tab(app).grid.charts[0].series_keys)
        await until(pilot, lambda: tab(app).pane_lines("info").text)
        poller = tab(app)._poller
        rounds, drawn = [0], []
        original = poller.round

        def counted() -> bool:
            rounds[0] += 1
            return bool(original())

        monkeypatch.setattr(poller, "round", counted)
        await until(pilot, lambda: rounds[0] >= 2)
        monkeypatch.setattr(app, "_display", lambda *arguments: drawn.append(arguments))
        # What led up to here may still be drawn; then five rounds must pass without a single cell.
        quiet_since, deadline = rounds[0], time.monotonic() + 15
        while rounds[0] < quiet_since + 5:
            assert time.monotonic() < deadline, drawn
            if drawn:
                drawn.clear()
                quiet_since = rounds[0]
            await asyncio.sleep(0.02)
