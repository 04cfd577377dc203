"""`workbench quickstart`: train a small model on this machine's own text, now, and watch it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench.cli import interface
from workbench.cli import parser as grammar
from workbench.cli.train import add_overrides

if TYPE_CHECKING:
    from workbench.store.runs import Run
    from workbench.store.status import Status

PRESET = "quickstart"
CHART_WIDTH = 60


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        PRESET,
        run,
        help="train a small model on text this machine has, and watch it",
        description="Train a small decoder on the text of Python's standard library; nothing is downloaded.\n"
        "Opens the interface on a terminal; prints progress and a summary elsewhere.\n"
        "With --align the whole path to a model that is preferred: instruction tuning, answers, rankings by\n"
        "a rule, a reward model, PPO and DPO, and who wins.",
        example="workbench quickstart\nworkbench quickstart --headless training.max_steps=100\n"
        "workbench quickstart --align",
    )
    add_overrides(parser)
    parser.add_argument(
        "--headless", action="store_true", help="print progress instead of opening the interface"
    )
    parser.add_argument(
        "--align", action="store_true", help="from text to preferences: SFT, rankings, reward model, PPO, DPO"
    )
    grammar.add_json(parser)
    interface.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench quickstart`."""
    from workbench.cli import render
    from workbench.cli.train import attend, make, start
    from workbench.store import launch

    if args.align:
        return _align(args)
    run = make(PRESET, args.overrides, stem=PRESET)
    if not args.headless and not args.json and interface.has_terminal():
        launch.start(run)
        code = interface.open_interface(args, initial_run=run.name)
        if run.status().is_active:
            render.talk(
                f"“{run.name}” goes on; workbench opens it again, or: workbench runs follow {run.name}"
            )
        return code
    render.talk(f"run {run.name} in {run.path}")
    return _conclude(run, attend(start(run)), as_json=args.json)


def _align(args: argparse.Namespace) -> int:
    from workbench.cli.alignment.command import align
    from workbench.errors import UsageError

    if args.overrides:
        raise UsageError(
            "--align has no recipe to change: it walks through five",
            where=args.overrides[0],
            hint="run its steps one by one; their recipes are in runs/align-*/recipe.yaml",
        )
    return align(as_json=args.json)


def _conclude(run: Run, status: Status, *, as_json: bool) -> int:
    from workbench.cli import render
    from workbench.cli.follow import outcome

    facts = gather(run)
    if as_json:
        print(render.as_json(facts))
    elif status.state in ("finished", "stopped"):
        print(page(run, facts))
    return outcome(run, status)


def gather(run: Run) -> dict[str, Any]:
    """What came of the run: losses, speed, time, the last sample."""
    from workbench.cli.events import SampleTail
    from workbench.cli.runs_compare import results
    from workbench.cli.series import points
    from workbench.cli.summary import as_dict
    from workbench.store.metrics import read_metrics

    tail = read_metrics(run.metrics_path)
    curve = points(tail, "loss") if tail.count("loss") else []
    samples = SampleTail(run, from_start=True).poll()
    return {
        **as_dict(run),
        **{key: value for key, value in results(run).items() if key not in ("name", "state", "step")},
        "first_loss": curve[0][1] if curve else None,
        "perplexity": _perplexity(tail.last("perplexity"), tail.last("eval_loss")),
        "sample": samples[-1] if samples else None,
        "loss_curve": [{"step": step, "loss": value} for step, value in curve],
    }


def _perplexity(logged: float | None, eval_loss: float | None) -> float | None:
    import math

    if logged is not None or eval_loss is None:
        return logged
    return math.exp(eval_loss) if eval_loss < 700 else math.inf


def page(run: Run, facts: dict[str, Any]) -> str:
    """The summary for a person: curve, numbers, a sample, and how to use the model elsewhere."""
    from workbench.cli import render
    from workbench.cli.curve import chart

    points = [(point["step"], point["loss"]) for point in facts["loss_curve"]]
    width = min(CHART_WIDTH, render.columns() - 12)
    drawing = chart(points, width=width, braille=render.has_unicode())
    loss = f"{render.number(facts['first_loss'])} at first, {render.number(facts['loss'])} at last"
    rows = [
        ("loss", f"{loss}, {render.number(facts['best_loss'])} at best"),
        (
            "eval_loss",
            f"{render.number(facts['eval_loss'])}, {render.number(facts['best_eval_loss'])} at best",
        ),
        ("perplexity", render.number(facts["perplexity"])),
        ("tokens/s", render.count(facts["tokens_per_second"])),
        ("tokens", render.count(facts["num_tokens"])),
        ("parameters", render.count(facts["num_parameters"])),
        ("time", f"{(facts['seconds'] or 0) / 60:.1f} minutes"),
    ]
    parts = ([render.style("loss over steps", "bold") + "\n" + drawing] if drawing else []) + [
        render.pairs(rows)
    ]
    if facts["sample"]:
        text = f"{facts['sample'].get('prompt', '')}{facts['sample'].get('text', '')}"
        shown = render.literal(text, keep_lines=True).replace("\n", "\n  ")
        parts.append(f"{render.style('what it writes', 'bold')}\n  {shown}")
    if facts["final"]:
        parts.append(
            f"{render.style('the model', 'bold')}\n  {facts['final']}\n\n{python_lines(facts['final'])}"
        )
    return "\n\n".join(parts)


def python_lines(folder: str) -> str:
    """The Python that loads the model with transformers, nothing of ours needed."""
    return (
        "  from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"  model = AutoModelForCausalLM.from_pretrained({folder!r})\n"
        f"  tokenizer = AutoTokenizer.from_pretrained({folder!r})"
    )
