"""`workbench evals compare`: two evaluations over the same rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural

if TYPE_CHECKING:
    from workbench.store.evaluations import Evaluation

ROWS = 20


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""

    parser = grammar.add_command(
        commands,
        "compare",
        run,
        help="compare two evaluations over the same rows",
        description="Compare two evaluations, row by row: the difference of their accuracies with a paired\n"
        "bootstrap interval, McNemar's exact test, and the rows where they differ.",
        example="workbench evals compare zero-shot with-cot\n"
        "workbench evals compare zero-shot with-cot --rows 0 --json",
    )
    parser.add_argument("first", metavar="A", help="the evaluation that is compared with")
    parser.add_argument("second", metavar="B", help="the other")
    parser.add_argument(
        "--rows", type=natural, metavar="N", default=ROWS, help="rows where they differ to show (%(default)s)"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench evals compare`."""
    from workbench.cli import evals_text, render
    from workbench.prompting.evaluation.comparison import compare, scale_of, warnings_of
    from workbench.prompting.evaluation.summary import results_in
    from workbench.store.evaluations import find_evaluation

    first, second = find_evaluation(args.first), find_evaluation(args.second)
    told = compare(results_in(first), results_in(second))
    settings = first.settings(), second.settings()
    told["warnings"], told["scale"] = warnings_of(*settings), scale_of(*settings)
    _add_questions(first, told["differing"])
    if args.json:
        print(render.as_json({"evaluations": [first.name, second.name], **told}))
    else:
        print(evals_text.comparison(first.name, second.name, told, args.rows))
    return 0


def _add_questions(evaluation: Evaluation, differing: list[dict[str, Any]]) -> None:
    """What was asked in each row, since its id alone says little."""
    questions = {record.get("id"): record.get("question", "") for record in evaluation.transcripts()}
    for pair in differing:
        pair["question"] = questions.get(pair["id"], "")
