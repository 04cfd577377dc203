"""`workbench eval --prompt`: a prompt and a technique over a data set."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.cli.models_of import Found
    from workbench.prompting.composition import Composition
    from workbench.prompting.evaluation.items import DataSet, Item
    from workbench.prompting.evaluation.setup import Setup
    from workbench.prompting.prompt import Prompt
    from workbench.store.evaluations import Evaluation

EXAMPLE = """workbench eval --prompt gsm8k-zero-shot-cot --data test.jsonl --answer answer --limit 200
workbench eval -p gsm8k-zero-shot-cot --data test.jsonl --answer answer -t cot+self_consistency
workbench eval -p classify-sentiment --data dev.tsv --columns text,label --answer label --map 0=negative"""

METRICS = ("answer", "exact", "contains", "judge")


def add_options(parser: grammar.Parser) -> None:
    """The options of an evaluation with a prompt."""
    from workbench.cli import eval_judge, models_of, prompting_options

    group = parser.add_argument_group("with a prompt")
    group.add_argument("--data", metavar="FILE", help="the data set: .jsonl .csv .tsv .parquet")
    group.add_argument("--answer", metavar="COLUMN", help="the column with the right answers")
    group.add_argument(
        "--map",
        metavar="VALUE=ANSWER",
        action="append",
        default=[],
        help="what a value of that column stands for, as in 0=negative",
    )
    group.add_argument(
        "--id", metavar="COLUMN", help="the column that tells rows apart; their place if not given"
    )
    group.add_argument("--limit", type=positive, metavar="N", help="only the first N rows")
    group.add_argument("--sample", type=positive, metavar="N", help="only N rows at random, under --seed")
    group.add_argument(
        "--samples",
        "-n",
        type=positive,
        metavar="N",
        default=1,
        help="independent answers to each (%(default)s)",
    )
    group.add_argument(
        "--metric",
        choices=METRICS,
        help="right is: the extracted answer is the reference (answer), the whole text is, "
        "the text contains it, or a judge says how good it is",
    )
    group.add_argument(
        "--concurrency", type=positive, metavar="N", default=8, help="rows at once (%(default)s)"
    )
    group.add_argument(
        "--name", metavar="NAME", help="of the evaluation; made from its settings if not given"
    )
    group.add_argument("--yes", action="store_true", help="allow all calls to tools of MCP servers")
    options = ("data", "answer", "map", "id", "limit", "sample", "samples", "metric", "concurrency", "name")
    parser.words += [*(f"--{name}" for name in options), "-n", "--yes"]
    eval_judge.add_options(parser)
    prompting_options.add_options(parser)
    models_of.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run what is missing of the evaluation, and print its numbers."""
    from workbench.cli import render
    from workbench.cli.evals_text import page

    told = asyncio.run(_run(args))
    print(render.as_json(told) if args.json else page(told))
    return 0


async def _run(args: argparse.Namespace) -> dict[str, Any]:
    from workbench.cli import models_of, render
    from workbench.store.evaluations import evaluation_called

    if args.asked_model is not None and args.model is not None:
        raise UsageError("the model is given twice", where=args.model, hint="leave one out")
    prompt, technique, data = _asked(args)
    found = models_of.asked(args, args.model)
    found = await models_of.named(found)
    judge = await _judge(args, prompt, found)
    setup = _setup(args, prompt, technique, data, found, judge)
    items = _items(args, setup)
    evaluation = evaluation_called(args.name or setup.name())
    summary = _complete(evaluation, setup, items)
    if summary is None:
        summary = await _do(args, setup, items, evaluation, found, judge)
    else:
        render.talk(f"{evaluation.name}: all of it was done before")
    return {"name": evaluation.name, "path": str(evaluation.path), **summary}


def _asked(args: argparse.Namespace) -> tuple[Prompt, Composition, DataSet]:
    """The prompt, the technique and the data set. Raises `UsageError`, `PromptError`."""
    from workbench.cli import prediction, prompting_options
    from workbench.prompting.evaluation.items import DataSet
    from workbench.prompting.prompts import load_prompt

    if args.data is None:
        raise UsageError("an evaluation with a prompt needs a data set", hint="--data FILE")
    if args.prompt is None:
        raise UsageError("an evaluation over a data set needs a prompt", hint="--prompt NAME")
    if args.limit is not None and args.sample is not None:
        raise UsageError("--limit and --sample both choose rows", hint="give one of them")
    prompt = load_prompt(args.prompt)
    technique = prompting_options.technique_of(args.technique, prompt)
    columns = prediction.columns_of(args.columns)
    data = DataSet(
        Path(args.data).expanduser(),
        columns if isinstance(columns, dict) else {},
        columns if isinstance(columns, list) else (),
        args.answer,
        args.id,
        _names(args.map),
    )
    return prompt, technique, data


async def _judge(args: argparse.Namespace, prompt: Prompt, asked: Found) -> Found | None:
    """The model that judges; where it is the one that is asked, just that one, with its options."""
    from workbench.cli import eval_judge, models_of

    settings = eval_judge.settings_of(args, prompt)
    if settings is None:
        return None
    if settings.model == (args.asked_model or args.model):
        return asked
    return await models_of.named(models_of.find(settings.model, args.key_env))


def _setup(
    args: argparse.Namespace,
    prompt: Prompt,
    technique: Composition,
    data: DataSet,
    found: Found,
    judge: Found | None,
) -> Setup:
    from workbench.cli import eval_judge, prompting_options
    from workbench.prompting.evaluation.setup import Setup

    tools = technique.settings.get("tools")
    foreign = [entry for entry in getattr(tools, "tools", ()) if "mcp" in str(entry)]
    if foreign and not args.yes:
        raise UsageError(
            "the tools of MCP servers would be called without asking anybody",
            where=str(foreign[0]),
            hint="--yes allows it",
        )
    return Setup(
        prompt,
        technique,
        found.identity(),
        data,
        prompting_options.variables_of(args.var),
        prompting_options.sampling_of(args),
        prompting_options.answer_of(args.answer_kind),
        eval_judge.metric_of(args),  # type: ignore[arg-type]
        args.samples,
        "in order" if args.sample is None else f"at random under seed {args.seed or 0}",
        args.embedder,
        eval_judge.settings_of(args, prompt),
        {} if judge is None else judge.identity(),
    )


def _items(args: argparse.Namespace, setup: Setup) -> list[Item]:
    from workbench.prompting.evaluation.items import read_items, sampled

    items = read_items(setup.data, setup.prompt, setup.compared_as, setup.variables, args.limit)
    return items if args.sample is None else sampled(items, args.sample, args.seed or 0)


def _complete(evaluation: Evaluation, setup: Setup, items: list[Item]) -> dict[str, Any] | None:
    """The numbers of an evaluation that has all items already, so that no engine is started for them."""
    from workbench.prompting.evaluation.run import begin
    from workbench.prompting.evaluation.summary import results_in, summarise

    begin(evaluation, setup, len(items))
    wanted = {item.id for item in items}
    results = [result for result in results_in(evaluation) if result.id in wanted]
    if len(results) < len(items):
        return None
    told = summarise(results, len(items), 0, setup.record["judge"])
    summary = {"state": "finished", "error": None, **told}
    return {**summary, "notes": evaluation.summary().get("notes", [])}


async def _do(
    args: argparse.Namespace,
    setup: Setup,
    items: list[Item],
    evaluation: Evaluation,
    found: Found,
    judged_by: Found | None,
) -> dict[str, Any]:
    from workbench.cli import models_of, render
    from workbench.prompting.evaluation.run import JUDGES_ITSELF, Effort, evaluate

    line = _ProgressLine(len(items), None if setup.judge is None else setup.judge.scale)
    async with AsyncExitStack() as stack:
        embedder = None
        if args.embedder is not None:
            other = models_of.find(args.embedder, args.key_env)
            embedder = await stack.enter_async_context(models_of.opened(other))
        model = await stack.enter_async_context(models_of.opened(found))
        judge = None
        if judged_by is not None:
            judge = await stack.enter_async_context(models_of.opened(judged_by))
        stack.push_async_callback(setup.technique.aclose)
        stack.callback(line.clear)
        if not line.live:
            render.talk(f"evaluating {len(items):,} rows as {evaluation.name}")
        if setup.judges_itself:
            render.talk(f"warning: {JUDGES_ITSELF}")
        return await evaluate(
            setup,
            items,
            model,
            evaluation,
            effort=replace(Effort(), concurrency=args.concurrency),
            embedder=embedder,
            judge=judge,
            progress=line.show,
        )


def _names(words: list[str]) -> dict[str, str]:
    """Other words for answers, as `--map` gives them."""
    pairs = [word.partition("=") for word in words]
    for value, equals, _ in pairs:
        if not equals:
            raise UsageError(f"--map {value} maps nothing", hint="--map 0=negative --map 1=positive")
    return {value.strip(): answer.strip() for value, _, answer in pairs}


class _ProgressLine:
    """How far it is: one line that is overwritten on a terminal, nothing elsewhere."""

    def __init__(self, total: int, scale: tuple[int, int] | None = None) -> None:
        from workbench.cli import render

        self.live = render.is_terminal(sys.stderr)
        self.total, self.began, self.done_before = total, time.monotonic(), -1
        self.next, self.scale = 0.0, scale

    def show(self, done: int, failed: int, accuracy: float | None) -> None:
        """Overwrite the line, ten times a second at most."""
        from workbench import units
        from workbench.cli import render

        now = time.monotonic()
        if self.done_before < 0:
            self.done_before = done - 1
        if not self.live or (now < self.next and done + failed < self.total):
            return
        self.next = now + 0.1
        rest = (now - self.began) / max(1, done - self.done_before) * (self.total - done)
        parts = [f"{done:,} of {self.total:,}"]
        if accuracy is not None and self.scale is not None:
            low, high = self.scale
            parts.append(f"score {low + accuracy * (high - low):.2f} of {low}–{high}")
        elif accuracy is not None:
            parts.append(f"accuracy {accuracy:.1%}")
        if failed:
            parts.append(f"{failed:,} failed")
        parts.append(f"{units.duration(rest)} to go")
        text = render.clip(", ".join(parts), render.columns() - 1)
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
