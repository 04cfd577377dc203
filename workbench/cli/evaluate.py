"""`workbench eval`: a trained model on held-out data, or a prompt over a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from workbench.cli import parser as grammar
from workbench.errors import UsageError

EXAMPLE = """workbench eval classify-1                         on the run's own held-out data
workbench eval classify-1 test.tsv --columns text,label
workbench eval mlm-1 data.eval_sources=[other.txt]
workbench eval path/to/model recipe.yaml --json
workbench eval --prompt gsm8k-zero-shot-cot --data test.jsonl --answer answer --model SmolLM2-135M-Instruct"""

EVALS = ("list", "show", "compare")
"""What people try here, and `workbench evals` does; a run of such a name is called by its folder."""
RECIPE_SUFFIXES = (".yaml", ".yml")
WIDEST_CONFUSION = 12


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli import prediction, prompt_eval

    parser = grammar.add_command(
        commands,
        "eval",
        run,
        help="evaluate a trained model on held-out data, or a prompt over a data set",
        description="Evaluate a trained model. A run is evaluated on the held-out data of its own recipe,\n"
        "by the code that evaluates while training, but on all rows; a model with a task's head\n"
        "also on a file of labelled records; a model folder on the held-out data of a recipe.\n"
        "With --prompt, a prompt and a technique are evaluated over the rows of a data set. Every\n"
        "transcript is kept, and the same command goes on where it was stopped; workbench evals\n"
        "shows and compares what there is.",
        example=EXAMPLE,
    )
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="a run's name, a model folder, or a hub name"
    )
    parser.add_argument(
        "on",
        metavar="FILE | RECIPE | key.path=value",
        nargs="*",
        default=[],
        help="labelled records, or a recipe (a preset's name or .yaml), and changes to the recipe",
    )
    parser.set_defaults(**{grammar.REST: "on"})
    prediction.add_reading_options(parser)
    prediction.add_device_options(parser)
    grammar.add_json(parser)
    prompt_eval.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench eval`."""
    from workbench.cli import prediction, prompt_eval, render

    if args.prompt is not None or args.data is not None:
        return prompt_eval.run(args)
    if args.model is None or args.model in EVALS:
        raise _missing()
    result: dict[str, Any] = {}
    for event in prediction.ask(request_of(args), debug=args.debug):
        result = event
    print(render.as_json(result) if args.json else page(result))
    return 0


def request_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the process is asked to do."""
    from workbench.cli import prediction
    from workbench.recipe import load

    target, overrides = _split(args.on)
    columns = prediction.columns_of(args.columns)
    model, run_folder = prediction.model_folder(args.model)
    if target is not None and not _is_recipe(target):
        if overrides:
            raise UsageError(
                "a file of records is evaluated without a recipe: there is nothing to change",
                where=overrides[0],
                hint="leave the changes out, or name the file as data.eval_sources=[FILE]",
            )
        return {
            "command": "evaluate_file",
            "model": model,
            "file": target,
            "columns": columns,
            "max_length": args.max_length,
            "batch_size": args.batch_size or prediction.BATCH_SIZE,
            "device": args.device,
        }
    if target is None and run_folder is None:
        raise UsageError(
            "a model folder does not say what it is to be evaluated on",
            where=args.model,
            hint="name a file of labelled records, or a recipe",
        )
    where = target or str(run_folder / "recipe.yaml")  # type: ignore[operator]
    if args.batch_size:
        overrides.append(f"training.per_device_eval_batch_size={args.batch_size}")
    if args.device != "auto":
        overrides.append(f"launch.device={args.device}")
    if args.max_length:
        overrides.append(f"data.max_length={args.max_length}")
    if run_folder is None:
        # The model named decides the tokenizer, whatever the recipe begins with.
        overrides += [f"model.model_name_or_path={model}", "model.tokenizer_name_or_path=null"]
    return {
        "command": "evaluate_recipe",
        "model": model,
        "run": None if run_folder is None else str(run_folder),
        "recipe": load(where, overrides).model_dump(mode="json"),
        "where": where,
    }


def _missing() -> UsageError:
    return UsageError(
        "what is to be evaluated is missing",
        where="workbench eval",
        hint="name a MODEL, or a --prompt with its --data; workbench evals list, show and compare tell of "
        "prompts that were evaluated",
    )


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """The file or recipe named, if any, and the changes to the recipe."""
    targets = [word for word in words if "=" not in word or Path(word).exists()]
    if len(targets) > 1:
        raise UsageError(
            f"one file or recipe at a time, not {len(targets)}",
            where=" ".join(targets),
            hint="several files are one glob in quotes, or data.eval_sources=[A,B]",
        )
    return (targets[0] if targets else None), [word for word in words if word not in targets]


def _is_recipe(word: str) -> bool:
    from workbench.errors import RecipeError
    from workbench.recipe import find_preset

    if word.endswith(RECIPE_SUFFIXES):
        return True
    if Path(word).expanduser().exists() or "." in Path(word).name:
        return False
    try:
        find_preset(word)
    except RecipeError:
        return False
    return True


def page(result: dict[str, Any]) -> str:
    """The result for a person."""
    from workbench.cli import render

    head = [
        ("model", render.literal(result["model"])),
        ("objective", result["objective"]),
        ("device", result["device"]),
        ("rows", f"{result['rows']:,} in {result['seconds']:.1f} s"),
    ]
    metrics = [(name, render.number(value)) for name, value in result["metrics"].items()]
    parts = [render.pairs(head), render.pairs(metrics)]
    if result.get("report"):
        parts.append(_report(result["report"]))
    if result.get("classes"):
        parts.append(_classes(result["classes"]))
    if result.get("confusion"):
        parts.append(_confusion(**result["confusion"]))
    return "\n\n".join(parts)


def _report(report: dict[str, Any]) -> str:
    """A reward model's, as the Train tab shows it."""
    from workbench.cli import render
    from workbench.tui.train.reward_report import report_lines

    symbols = "braille" if render.has_unicode() else "ascii"
    lines = ["".join(text for text, _ in line) for line in report_lines(report, symbols)]
    return render.literal("\n".join(lines), keep_lines=True)


def _classes(classes: list[dict[str, Any]]) -> str:
    from workbench.cli import render

    rows = [
        [
            render.literal(line["label"]),
            *(f"{line[name]:.3f}" for name in ("precision", "recall", "f1")),
            f"{line['support']:,}",
        ]
        for line in classes
    ]
    return render.table(["class", "precision", "recall", "f1", "support"], rows, right=(1, 2, 3, 4))


def _confusion(labels: list[str], matrix: list[list[int]]) -> str:
    from workbench.cli import render

    if len(labels) > WIDEST_CONFUSION:
        return f"confusion of {len(labels)} labels: --json prints it"
    names = [render.literal(label) for label in labels]
    rows = [[name, *(f"{count:,}" for count in line)] for name, line in zip(names, matrix, strict=True)]
    return render.table(["gold \\ predicted", *names], rows, right=tuple(range(1, len(names) + 1)))
