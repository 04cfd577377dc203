"""Pictures of the Train tab, the Playground and the label inspector as SVG files, for the README.

    python tests/benchmarks/screenshots.py OUT [--home HOME] [--png] [--keys j,space]
    python tests/benchmarks/screenshots.py OUT --model FOLDER [--png]
    python tests/benchmarks/screenshots.py OUT --model FOLDER --conversations FILE [--record 0] [--png]

Of the Train tab at 80×24 and 200×60; without `--home` its runs are made up. With `--model` of the Playground
at 160×24, with what that model really says; with `--conversations` too, of the label inspector at 100×18, on
one record of the file as `sft` will see it. `--png` also needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import tempfile
import time
from pathlib import Path

SIZES = ((80, 24), (200, 60))
# Two runs overlaid, the third pinned as the baseline, and the recipe's difference to it.
KEYS = "end,p,up,space,up,r"
PLAYGROUND_SIZE = (160, 24)
LABELS_SIZE = (100, 18)
QUESTION = "Why is the sea salty? Answer in three sentences."


def fabricate() -> None:
    """Four runs of a small model in the present home, one of them still going."""
    from workbench.recipe import load
    from workbench.store.process import ProcessIdentity

    _make("nano-lr1e-3", load("nano", ["training.learning_rate=1e-3"]), 600, "finished", 1, None)
    _make("nano-lr8e-3", load("nano", ["training.learning_rate=8e-3"]), 210, "stopped", 2, None)
    _make("nano-lr4e-3", load("nano", ["training.learning_rate=4e-3"]), 600, "finished", 3, None)
    me = ProcessIdentity.current()
    _make(
        "nano-wide",
        load("nano", ["training.learning_rate=4e-3", "model.hidden_size=192"]),
        431,
        "running",
        4,
        me,
    )


def _make(name: str, recipe: object, steps: int, state: str, seed: int, process: object) -> None:
    from workbench.recipe import Recipe
    from workbench.store.process import ProcessIdentity
    from workbench.store.runs import create_run

    assert isinstance(recipe, Recipe) and isinstance(process, ProcessIdentity | None)
    recipe.run.name, recipe.training.max_steps = name, 600
    run = create_run(recipe)
    noise, begin, peak = random.Random(seed), time.time() - 0.2 * steps, recipe.training.learning_rate
    wide, loss, evaluated = recipe.model.hidden_size / 128, 0.0, 0.0
    with run.metrics_path.open("w") as file:
        for step in range(1, steps + 1):
            trend = 2.4 / wide**0.25 + 5.2 * math.exp(-step * peak * 9) + 0.8 * math.exp(-step * peak / 1.2)
            loss = trend + noise.gauss(0, 0.07)
            share = 0.1 + 0.45 * (1 + math.cos(math.pi * step / 600))
            record = {
                "step": step,
                "time": begin + 0.2 * step,
                "loss": loss,
                "learning_rate": peak * min(1.0, step / 50) * share,
                "grad_norm": 0.6 + 2.5 * math.exp(-step / 30) + abs(noise.gauss(0, 0.15)),
                "num_tokens": 4096 * step,
                "tokens_per_second": 20480 / wide + noise.gauss(0, 500),
            }
            if step % 30 == 0:
                record["eval_loss"] = evaluated = trend + 0.1 + noise.gauss(0, 0.01)
            file.write(json.dumps(record) + "\n")
    status = run.status()
    status.state, status.process, status.step, status.max_steps = state, process, steps, 600
    status.loss, status.eval_loss, status.best_eval_loss, status.best_step = loss, evaluated, evaluated, steps
    status.num_tokens, status.tokens_per_second, status.epoch = 4096 * steps, 20480 / wide, steps / 480
    status.eta_seconds, status.num_parameters = 0.2 * (600 - steps), int(1_312_000 * wide**2)
    status.started, status.device, status.created = begin, "cpu, 2 threads", time.time() + seed
    status.write(run.status_path)


async def picture(size: tuple[int, int], keys: list[str]) -> str:
    """The interface as SVG, after some keys, once its charts have curves."""
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.train.chart_grid import ChartGrid

    app = WorkbenchApp()
    async with app.run_test(size=size) as pilot:
        while not app.query(ChartGrid):
            await pilot.pause(0.05)
        grid = app.query_one(ChartGrid)
        while not any(chart.series_keys for chart in grid.charts):
            await pilot.pause(0.05)
        await pilot.press(*keys)
        await pilot.pause(1.0)
        return app.export_screenshot(title="workbench")


async def playground_picture(model: Path) -> str:
    """An answer at temperature 0 and one at 1 beside each other, the tokens in the colours of their
    probabilities, the cursor on the one that was least expected."""
    from workbench.inference import launch
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.playground.odds import OddsFlow
    from workbench.tui.playground.setup import ModelChoice, Setup
    from workbench.tui.tabs.playground import PlaygroundTab

    choice = ModelChoice("local", str(model.absolute()))
    drawn = ({"temperature": 0.0}, {"temperature": 1.0, "seed": 3})
    running_before = [state.name for state in launch.running()]
    app = WorkbenchApp()
    try:
        async with app.run_test(size=PLAYGROUND_SIZE) as pilot:
            await pilot.press("4")
            while not (app.query(PlaygroundTab) and app.query_one(PlaygroundTab).query("#columns")):
                await pilot.pause(0.05)
            tab = app.query_one(PlaygroundTab)
            await tab.action_add()
            for column, sampling in zip(tab.columns, drawn, strict=True):
                column.setup = Setup(choice, sampling=sampling)
            tab.writing.fill(QUESTION)
            tab.action_send()
            while tab.busy or any(column.state == "empty" for column in tab.columns):
                await pilot.pause(0.2)
            assert all(column.state == "done" for column in tab.columns), [one.error for one in tab.columns]
            tab.view = "tokens"
            await pilot.pause(0.5)
            for pane in tab.panes:
                tokens = pane.column.chains[0].tokens
                pane.query_one(OddsFlow).cursor = min(
                    range(len(tokens)), key=lambda place: tokens[place].logprob
                )
            await pilot.pause(0.5)
            return app.export_screenshot(title="workbench")
    finally:
        for state in launch.running():
            if state.name not in running_before:
                launch.stop(state.name)


async def labels_picture(model: Path, line: str) -> str:
    """A conversation in the label inspector, the cursor on the first token that is learned."""
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.data.labels_pane import LabelsPane
    from workbench.tui.widgets.token_flow import TokenFlow

    Path("talk.jsonl").write_text(f"{line}\n")
    settings = {"sources": ["talk.jsonl"], "eval_fraction": 0, "packing": False}
    whole = {"extends": "sft", "model": {"model_name_or_path": str(model)}, "data": settings}
    Path("talk.yaml").write_text(json.dumps(whole))
    app = WorkbenchApp()
    async with app.run_test(size=LABELS_SIZE) as pilot:
        await pilot.press("2")
        while not app.query(LabelsPane):
            await pilot.pause(0.05)
        await pilot.press("o", *"talk.yaml", "enter", "i")
        pane = app.query_one(LabelsPane)
        while not pane.row:
            await pilot.pause(0.1)
        states = [token["state"] for token in pane.row["streams"][0]["tokens"]]
        pane.query_one(TokenFlow).cursor = states.index("supervised")
        await pilot.pause(0.5)
        return app.export_screenshot(title="workbench")


def to_png(svg: str, path: Path) -> None:
    """Draw an SVG with fonts that are there."""
    import resvg_py

    for wanted, there in (("Fira Code", "DejaVu Sans Mono"), ("arial", "DejaVu Sans")):
        svg = svg.replace(wanted, there)
    path.write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=svg, font_dirs=["/usr/share/fonts"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder to write into")
    parser.add_argument("--home", type=Path, help="a workbench home with runs")
    parser.add_argument("--model", type=Path, help="take pictures of the Playground with this model")
    parser.add_argument("--conversations", type=Path, help="of the label inspector, on a file of these")
    parser.add_argument("--record", type=int, default=0, help="which of them, from 0")
    parser.add_argument("--keys", default=KEYS, help="keys to press first, with commas between")
    parser.add_argument("--png", action="store_true", help="PNG files too")
    arguments = parser.parse_args()
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_HOME"] = str(arguments.home or folder)
        if arguments.home is None and arguments.model is None:
            fabricate()
        keys = [key for key in arguments.keys.split(",") if key]
        if arguments.conversations:
            line = arguments.conversations.read_text().splitlines()[arguments.record]
            taken = labels_picture(arguments.model.absolute(), line)
            # What is opened stands on the screen by its name alone.
            os.chdir(folder)
            pictures = [("labels", LABELS_SIZE, taken)]
        elif arguments.model:
            pictures = [("playground", PLAYGROUND_SIZE, playground_picture(arguments.model))]
        else:
            pictures = [("train", size, picture(size, keys)) for size in SIZES]
        for name, size, made in pictures:
            svg = asyncio.run(made)
            path = arguments.out / f"{name}-{size[0]}x{size[1]}.svg"
            path.write_text(svg)
            if arguments.png:
                to_png(svg, path.with_suffix(".png"))
            print(path)


if __name__ == "__main__":
    main()
