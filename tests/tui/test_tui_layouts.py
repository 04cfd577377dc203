"""The planner of layouts in the Build tab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from workbench.recipe import load
from workbench.scaling.layouts import Layout, cluster, plan, setting_of, subject_of
from workbench.tui.app import WorkbenchApp
from workbench.tui.build.layout_lines import head_words, layout_lines, row_words
from workbench.tui.build.layout_screen import LayoutScreen
from workbench.tui.build.picture import Picture

LAYOUTS = [
    Layout(dp_shard=64, microbatches=2),
    Layout(pp=4, dp_shard=2, tp=8, microbatches=64, virtual_stages=2, schedule="interleaved", reshard=False),
    Layout(pp=16, tp=4, microbatches=128, reshard=False),
    Layout(pp=64, microbatches=128, reshard=False),
]


@pytest.mark.parametrize("symbols", ["braille", "ascii"])
@pytest.mark.parametrize("width", [60, 76, 120])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_drawn_in_the_room_there_is(layout: Layout, width: int, symbols: str) -> None:
    setting = setting_of(subject_of("models/llama3-70b"), cluster("H100", 64), global_batch=128)
    found = plan(setting, layout)
    lines = ["".join(text for text, _ in line) for line in layout_lines(found, width, symbols)]
    drawn = [line for line in lines if line.startswith(("stage", "node", "weights", "computing"))]
    assert drawn and max(map(cell_len, drawn)) <= width
    assert any(line.startswith("stage 0") for line in lines) == (layout.pp > 1)
    assert len(row_words(found)) <= 74 and len(head_words()) <= 74
    if symbols == "ascii":
        assert "".join(lines).isascii()


async def test_planning_in_the_build_tab(until: Any, text_of: Any, tmp_path: Path) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1")
        tab = app.screen_stack[0].query_one("BuildTab")
        await until(pilot, lambda: tab.chooser.starts and tab.design)  # type: ignore[attr-defined]
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, LayoutScreen) and app.screen.plan)
        screen: Any = app.screen
        assert "8 × H100" in text_of(app)
        await pilot.press("plus")
        await until(pilot, lambda: screen.asked.gpus == 16 and "16 × H100 in 2 nodes" in text_of(app))
        # What an older, slower search finds is not shown, and keys count on from what is being reckoned.
        older = (screen._number, screen.asked, screen._setting, screen._found)
        await pilot.press("plus", "minus")
        await until(pilot, lambda: screen._number == older[0] + 2 and screen.asked.gpus == 16)
        screen._take(older[0], replace(older[1], gpus=2), *older[2:])
        assert screen.asked.gpus == 16
        await pilot.press("e", "ctrl+u", *"tp=3", "enter")
        await until(pilot, lambda: any("attention heads" in note.message for note in app._notifications))
        await pilot.press("e", "ctrl+u", *"tp=2,pp=2", "enter")
        await until(pilot, lambda: screen.plan.layout.axes["pp"] == 2)
        assert screen.query_one(Picture).text.count("\nstage ") == 2
        path = tmp_path / "planned.yaml"
        await pilot.press("w", "ctrl+u", *str(path), "enter")
        await until(pilot, path.exists)
        recipe = load(str(path))
        assert recipe.parallel.tp == recipe.parallel.pp == 2 and recipe.launch.world_size == 16
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LayoutScreen))
