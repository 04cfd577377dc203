"""The Train tab's long context pane and its curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from long_results import content_of, cost_of, variant_of

from workbench.errors import ModelError
from workbench.models.estimate import estimate
from workbench.recipe import load
from workbench.store import context_costs, context_jobs, long_context
from workbench.tui.app import WorkbenchApp
from workbench.tui.build.checks import findings_of
from workbench.tui.build.design import design_of
from workbench.tui.form.recipe_draft import RecipeDraft
from workbench.tui.train.context_cost_report import cost_lines
from workbench.tui.train.long_context_pane import LongContextSource
from workbench.tui.train.long_context_report import columns_of, map_lines, report_lines
from workbench.tui.train.long_context_screen import LongContextScreen
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.text_lines import TextLines


def text_in(lines: Any) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_newest_result_stands_beside_the_baselines(make_run: Any) -> None:
    before, after = make_run("before"), make_run("after")
    source = LongContextSource(after, before, "ascii")
    assert "workbench context eval after" in text_in(source.poll())
    assert source.poll() is None
    long_context.save(content_of(), "", before.path)
    yarn = content_of(variants=[variant_of("yarn", (2.0, 1.9, 1.8, 1.7), (4,) * 6)])
    long_context.save(yarn, "", after.path)
    text = text_in(source.poll())
    assert "A  as it is  before:1" in text and "C  YaRN ×4  after:1" in text
    assert "some ␛[31mtext" in text and "\x1b" not in text
    (after.path / "context" / "2.json").write_text(
        '{"model": 1, "lengths": [1], "variants": [{}], "created": 2}'
    )
    assert "cannot be read" in text_in(source.poll())


def test_maps_read_without_colours_and_reports_fit_80_columns(make_run: Any) -> None:
    run = make_run("small")
    result = long_context.save(content_of(variants=content_of()["variants"] * 6), "", run.path)
    for symbols in ("braille", "ascii"):
        lines = report_lines([result], symbols, 78)
        assert all(len(line) <= 80 for line in text_in(lines).splitlines())
    ascii_maps = text_in(map_lines(long_columns(result), "exact", "ascii", 78))
    assert "  0% ##100     0 " in ascii_maps
    assert "**" in ascii_maps and "█" not in ascii_maps
    roles = {
        role for line in map_lines(long_columns(result), "probability", "braille", 78) for _, role in line
    }
    assert {"good", "bad"} <= roles


def long_columns(result: long_context.Result) -> Any:
    return columns_of([result])


async def test_keys_show_tables_maps_and_curves(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any
) -> None:
    run = make_run("small", steps=6, max_steps=6)
    for _ in range(2):
        long_context.save(content_of(), "", run.path)
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "small" in text_of(app))
        await pilot.press("t")
        await until(pilot, lambda: "perplexity by position" in text_of(app))
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, LongContextScreen) and app.screen.results)
        screen: Any = app.screen
        chart, lines = screen.query_one(Chart), screen.query_one(TextLines)
        assert chart.series_keys == ["A", "B"] and "pass keys: keys found" in lines.text
        await pilot.press("m", "v", "v")
        await until(pilot, lambda: chart.series_keys == ["B"])
        assert "probability of a token" in lines.text
        await pilot.press("t", "left_square_bracket")
        await until(pilot, lambda: chart.series_keys == ["A", "B"])
        assert "small:1" in text_of(app) and "difference in nats" in lines.text
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LongContextScreen))


async def test_cost_is_drawn_and_commands_are_started(
    make_run: Any, size: tuple[int, int], until: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("small", steps=6, max_steps=6)
    started: list[Any] = []
    monkeypatch.setattr(context_jobs, "start", lambda folder, *rest: started.append((folder, *rest)))
    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "small" in text_of(app))
        await pilot.press("t", "T")
        await until(pilot, lambda: isinstance(app.screen, LongContextScreen) and app.screen.is_mounted)
        screen: Any = app.screen
        lines = screen.query_one(TextLines)
        await until(pilot, lambda: "e reads it on long text" in lines.text)
        await pilot.press("c")
        await until(pilot, lambda: "e measures its time" in lines.text)
        context_costs.save(cost_of(), context_costs.path_of("", run.path))
        await until(pilot, lambda: "time of a further token" in lines.text)
        assert not screen.query_one(Chart).display
        assert "256 tokens 8.0 ms, 16,384 8.0 ms (full 41.0 ms)" in lines.text
        await pilot.press("e")
        assert screen.prompt.asked and "--lengths" in screen.prompt.value
        await until(pilot, lambda: "options of workbench context cost" in text_of(app))
        await pilot.press("escape", "c", "e", *" --stride 64", "enter")
        await until(pilot, lambda: started)
        assert started == [(run.path, "eval", ["--rope-scaling", "all", "--stride", "64"])]
        # One that goes on, and one that failed, are told of; keys put the last away.
        with context_jobs.recorded(run.path, "eval") as told:
            told("reading YaRN: 3 of 32")
            await until(pilot, lambda: "context eval is running: reading YaRN" in lines.text)
            await pilot.press("e")
            assert not screen.prompt.asked
        await until(pilot, lambda: "is running" not in lines.text)
        with pytest.raises(ModelError), context_jobs.recorded(run.path, "eval"):
            raise ModelError("no \x1b[31mpositions")
        await until(pilot, lambda: "context eval failed: no ␛[31mpositions" in lines.text)
        await pilot.press("x")
        await until(pilot, lambda: "failed" not in lines.text)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LongContextScreen))


def test_costs_fit_80_columns_and_read_in_ascii() -> None:
    for symbols in ("braille", "ascii"):
        text = text_in(cost_lines(cost_of(), 76, 20, symbols))
        assert all(len(line) <= 78 for line in text.splitlines())
        assert "16,384" in text and "training, one row" in text
    assert text.isascii()
    alone = cost_of(full=None, training=None, costs=cost_of()["costs"][:1])
    assert "full" not in text_in(cost_lines(alone, 76, 20, "braille"))


def test_letters_go_on_after_z(make_run: Any) -> None:
    run = make_run("small")
    variants = content_of()["variants"]
    results = [long_context.save(content_of(variants=variants * 7), "", run.path) for _ in range(2)]
    columns = columns_of(results)
    assert len({column.letter for column in columns}) == 28 and columns[-1].letter == "AB"
    assert {column.first for column in columns} == {"A", "O"}
    assert "AB - O" in text_in(report_lines(results, "braille", 78))


@pytest.mark.parametrize(
    ("preset", "keys", "said", "repair"),
    [
        (
            "nano",
            {"rope_scaling": "yarn", "rope_factor": 0.25},
            "would shorten the context",
            {"rope_factor": 4.0},
        ),
        ("nano", {"rope_factor": 2.0}, "rope_scaling not how", {"rope_scaling": "yarn"}),
        ("bert-nano", {"rope_scaling": "yarn", "rope_factor": 2.0}, "BERT has a learned table", {}),
        (
            "nano",
            {"rope_scaling": "ntk", "rope_factor": 1000.0, "max_position_embeddings": 10_000_000},
            "this machine has",
            {},
        ),
    ],
)
def test_the_build_tab_tells_what_cannot_be_stretched_and_mends_it(
    preset: str, keys: dict[str, Any], said: str, repair: dict[str, Any]
) -> None:
    draft = RecipeDraft(preset)
    draft.set_values({f"model.{name}": value for name, value in keys.items()})
    found = [finding for finding in findings_of(draft, design_of(draft)) if said in finding.message]
    assert len(found) == 1
    first = found[0].repairs[0].values if found[0].repairs else {}
    assert {name.removeprefix("model."): value for name, value in first.items()}.items() >= repair.items()


def test_estimates_are_of_the_stretched_context(tmp_path: Path) -> None:
    stretched = ["model.rope_scaling=yarn", "model.rope_factor=4"]
    plain, longer = (estimate(load("nano", given)).known for given in ([], stretched))
    assert plain and longer and (plain.load.length, longer.load.length) == (256, 1024)
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config |= {"intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    folder = f"model.model_name_or_path={tmp_path}"
    found = estimate(load("extend", [folder])).known
    assert found and found.load.length == 512
    done = config | {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    (tmp_path / "config.json").write_text(json.dumps(done))
    assert "stretched already" in estimate(load("extend", [folder])).reason
