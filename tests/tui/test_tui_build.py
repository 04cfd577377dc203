"""The Build tab: what a change does, what is mended, saved and opened, at both sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.recipe import load
from workbench.recipe.families import FAMILIES
from workbench.store import launch, runs
from workbench.tui.app import WorkbenchApp
from workbench.tui.build.chooser import Chooser
from workbench.tui.tabs.build import BuildTab
from workbench.tui.train.new_run import NewRunScreen

SMALLEST = {
    "llama": "nano",
    "bert": "bert-nano",
    "modernbert": "modernbert-nano",
    "xlnet": "xlnet-nano",
    "electra": "electra-nano",
    "t5": "t5-nano",
    "bart": "bart-nano",
}


def tab_of(app: WorkbenchApp) -> BuildTab:
    return app.screen_stack[0].query_one(BuildTab)


def preset_file(home: Path, name: str, text: str) -> Path:
    folder = home / "presets" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


async def open_tab(pilot: Any, until: Any) -> BuildTab:
    await pilot.press("1")
    await until(pilot, lambda: tab_of(pilot.app).chooser.starts and tab_of(pilot.app).design)
    return tab_of(pilot.app)


async def choose(pilot: Any, until: Any, stem: str) -> BuildTab:
    """The form on a preset."""
    tab = await open_tab(pilot, until)
    place = next(
        number
        for number, start in enumerate(tab.chooser.starts)
        if start.stem == stem and not start.is_family
    )
    tab.chooser.highlighted = place
    await pilot.press("enter")
    await until(pilot, lambda: tab.form.fields.has_focus and tab.draft and tab.draft.stem == stem)
    return tab


async def type_into(pilot: Any, field: str, text: str) -> None:
    await pilot.press("slash", *field, "enter", "enter", "ctrl+u", *text, "enter", "escape")


@pytest.mark.parametrize("family", list(FAMILIES))
async def test_every_family_is_drawn(family: str, size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        tab = await choose(pilot, until, SMALLEST[family])
        section = load(f"models/{SMALLEST[family]}").model
        title = FAMILIES[family].title
        words = {"t5": "× decoder", "bart": "× decoder", "electra": "discriminator"}
        await until(pilot, lambda: words.get(family, f"× {title} block") in text_of(app))
        assert f"{section.num_attention_heads} heads × " in text_of(app)
        assert f"{section.vocab_size:,} × " in text_of(app)
        for key, sign in (("a", "row: who looks"), ("e", "parameters"), ("c", "Nothing is wrong")):
            await pilot.press(key)
            await until(pilot, lambda sign=sign: sign in text_of(app))
            for line in text_of(app).splitlines():
                assert len(line) == size[0]
            for pane in tab.area.query("Picture"):
                for y in range(pane.size.height):
                    assert pane.render_line(y).cell_length <= pane.size.width


async def test_a_change_is_seen_at_once(size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        tab = await choose(pilot, until, "bert-nano")
        assert tab.reckoned is not None and tab.reckoned.known is not None
        before = tab.reckoned.known.parameters.total
        await pilot.press("slash", *"num_hidden_layers", "enter", "enter", "ctrl+u", "9")
        await until(pilot, lambda: "9 × BERT block" in text_of(app))
        assert tab.reckoned.known.parameters.total > before
        await pilot.press("escape")
        await until(pilot, lambda: "9 × BERT block" not in text_of(app))
        assert tab.reckoned.known.parameters.total == before


async def test_another_family_has_other_keys_and_an_objective(until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        tab = await choose(pilot, until, "nano")
        assert tab.form.fields.current == "model.family"
        assert "rope_theta" in text_of(app) and "type_vocab_size" not in text_of(app)
        await pilot.press("right")
        await until(pilot, lambda: "type_vocab_size" in text_of(app) and "BERT block" in text_of(app))
        assert "rope_theta" not in text_of(app)
        assert tab.design is not None and tab.design.objective == "mlm"
        await pilot.press("left")
        await until(pilot, lambda: "Llama block" in text_of(app))
        assert tab.design.objective == "clm" and tab.draft is not None and tab.draft.overrides == []


async def test_heads_that_do_not_divide_are_mended(size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        tab = await choose(pilot, until, "nano")
        await type_into(pilot, "num_attention_heads", "5")
        await pilot.press("c")
        await until(pilot, lambda: "is not divisible by" in text_of(app) and "2 wrong" in text_of(app))
        assert tab.reckoned is None and "4 heads would fit" in text_of(app)
        await pilot.press("m")
        await until(pilot, lambda: "Nothing is wrong" in text_of(app))
        assert tab.design is not None and tab.design.section.num_attention_heads == 4
        assert tab.design.section.num_key_value_heads == 4
        assert tab.reckoned is not None and tab.reckoned.known is not None


async def test_save_and_open_again(home: Path, until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    path = home / "presets" / "models" / "mine.yaml"
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        tab = await choose(pilot, until, "electra-nano")
        await type_into(pilot, "num_hidden_layers", "3")
        assert tab.design is not None and tab.design.recipe is not None
        recipe = tab.design.recipe
        await pilot.press("w", "ctrl+u", *"bad name!", "enter")
        await until(pilot, lambda: "cannot be the name" in text_of(app))
        await pilot.press("w", "ctrl+u", *"mine", "enter")
        await until(pilot, path.exists)
        saved = load(str(path))
        assert saved.model == recipe.model and saved.objective == recipe.objective
        assert path.read_text().startswith("# ELECTRA, generator and discriminator, ")
        assert "parameters" in path.read_text().splitlines()[0]
        # The same name again is asked about first.
        await type_into(pilot, "num_hidden_layers", "5")
        await pilot.press("w", "ctrl+u", *"mine", "enter")
        await until(pilot, lambda: "Replace your preset mine?" in text_of(app))
        await pilot.press("n")
        assert load(str(path)).model.num_hidden_layers == 3
        await pilot.press("w", "ctrl+u", *"mine", "enter")
        await until(pilot, lambda: "Replace your preset mine?" in text_of(app))
        await pilot.press("y")
        await until(pilot, lambda: load(str(path)).model.num_hidden_layers == 5)
        # It is the first in the list, and the changes of the other one are still there.
        await until(pilot, lambda: tab.chooser.starts[0].stem == "mine")
        await pilot.press("escape")
        await until(pilot, lambda: app.focused is app.query_one(Chooser))
        await pilot.press("home", "enter")
        await until(pilot, lambda: tab.draft is not None and tab.draft.stem == "mine")
        assert tab.design.section.num_hidden_layers == 5


async def test_a_run_of_it(
    until: Any, text_of: Any, train_tab: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(launch, "start", lambda run: started.append(run.name))
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, until, "t5-nano")
        await type_into(pilot, "num_decoder_layers", "1")
        await pilot.press("n")
        await until(pilot, lambda: "model.num_decoder_layers=1" in text_of(app))
        assert isinstance(app.screen, NewRunScreen)
        await pilot.press("ctrl+j")
        await until(pilot, lambda: started == ["t5-nano-1"])
        await until(pilot, lambda: app.tab == "train" and train_tab(app).selected == "t5-nano-1")
        recipe = runs.find_run("t5-nano-1").recipe()
        assert recipe.model.num_decoder_layers == 1 and recipe.objective.name == "denoise"
        # With the training that the preset of runs of the same model has.
        assert (recipe.data.max_length, recipe.training.max_steps) == (128, 2000)


async def test_presets_that_cannot_be_used(home: Path, until: Any, text_of: Any) -> None:
    preset_file(home, "aaa", "# [b]bold[/b] \u202ered\nmodel:\n  hiden_size: 3\n")
    preset_file(home, "bbb", "model:\n  family: gpt5\n")
    preset_file(home, "ccc", "# \x1b[31mred\n")
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await pilot.press("1")
        await until(pilot, lambda: "[b]bold[/b] �red" in text_of(app) and "␛[31mred" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "there is no key “hiden_size”" in text_of(app))
        assert tab_of(app).has_class("-choosing")
        await pilot.press("down", "enter")
        await until(pilot, lambda: "model.family: input should be 'llama'" in text_of(app))
        await pilot.press("m")
        await until(pilot, lambda: "Nothing is wrong" in text_of(app))
        await pilot.press("escape", "down", "enter")
        await until(pilot, lambda: "not valid YAML" in text_of(app))


async def test_keys_of_the_panes(until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        tab = await choose(pilot, until, "xlnet-nano")
        await pilot.press("a")
        await until(pilot, lambda: "query stream g" in text_of(app))
        first = text_of(app)
        await pilot.press("v")
        await until(pilot, lambda: text_of(app) != first and "order" in text_of(app))
        await pilot.press("a")
        await until(pilot, lambda: app.focused is tab.area.pane("attention"))
        await pilot.press("escape")
        await until(pilot, lambda: tab.form.fields.has_focus)
        await pilot.press("question_mark")
        await until(pilot, lambda: "build.mend" in text_of(app))
        await pilot.press("escape", "f3", "f3", "d")
        await until(pilot, lambda: "+- embeddings" in text_of(app))
        await pilot.resize_terminal(64, 20)
        await until(pilot, lambda: "+- embeddings" not in text_of(app) and "hidden_size" in text_of(app))
        await pilot.press("d")
        await until(pilot, lambda: "+- embeddings" in text_of(app) and "hidden_size" not in text_of(app))
        await pilot.press("escape")
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: "Attention: who sees whom" in text_of(app) and "Estimates" in text_of(app))


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
async def test_without_colours_and_in_sixteen(
    until: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv(variable, "1" if variable == "NO_COLOR" else "xterm")
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        tab = await open_tab(pilot, until)
        cursor = tab.chooser.render_line(0)
        assert all(segment.style and segment.style.reverse for segment in cursor)
        await choose(pilot, until, "bart-nano")
        await until(pilot, lambda: "cross-attention" in text_of(app))


async def test_a_preset_is_found_by_its_words(size: tuple[int, int], until: Any, text_of: Any) -> None:
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        tab = await choose(pilot, until, "nano")
        await pilot.press("escape")
        await pilot.press("slash", *"electra small")
        await until(
            pilot, lambda: tab.chooser.start is not None and tab.chooser.start.stem == "electra-small"
        )
        await pilot.press(*" nowhere", "enter")
        assert tab.chooser.start is not None and tab.chooser.start.stem == "electra-small"
        await pilot.press("enter")
        await until(pilot, lambda: tab.has_class("-form") and "electra" in text_of(app))
        assert tab.design is not None and tab.design.section.family == "electra"
