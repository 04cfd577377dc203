"""`workbench evals show`: the numbers of an evaluation, and its transcripts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.evaluations import Evaluation


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "show",
        run,
        help="show the numbers of an evaluation, or its transcripts",
        description="Show the numbers of an evaluation, or the transcripts of some of its rows.\n"
        "With --json, transcripts are JSON lines.",
        example="workbench evals show my-evaluation\n"
        "workbench evals show my-evaluation --row 17\n"
        "workbench evals show my-evaluation --wrong --json | jq .question",
    )
    parser.add_argument("evaluation", metavar="NAME", help="its name, or its folder")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--row", metavar="ID", help="the transcript of one row, by its id")
    which.add_argument("--wrong", action="store_true", help="the transcripts of the rows that are not right")
    which.add_argument("--search", metavar="TEXT", help="the transcripts that hold a text")
    which.add_argument("--all", action="store_true", help="all transcripts")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench evals show`."""
    from workbench.cli import evals_text, render
    from workbench.store.evaluations import find_evaluation

    evaluation = find_evaluation(args.evaluation)
    if args.row is None and not args.wrong and args.search is None and not args.all:
        told = numbers(evaluation)
        print(render.as_json(told) if args.json else evals_text.page(told))
        return 0
    for record in _chosen(evaluation, args):
        print(json.dumps(record, ensure_ascii=False) if args.json else "\n".join([*_lines(record), ""]))
    return 0


def numbers(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers as the transcripts have them now, whatever the last summary said."""
    from workbench.prompting.evaluation.summary import failed_in, results_in, summarise

    summary, results = evaluation.summary(), results_in(evaluation)
    failed = failed_in(evaluation, (result.id for result in results))
    settings = evaluation.settings()
    items = max(int(settings.get("items", 0)), len(results))
    return {
        "name": evaluation.name,
        "path": str(evaluation.path),
        "state": summary.get("state", "not run"),
        "error": summary.get("error"),
        **summarise(results, items, len(failed), settings.get("judge")),
        "notes": summary.get("notes", []),
        "settings": settings,
    }


def _chosen(evaluation: Evaluation, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from workbench.errors import RunError

    transcripts = evaluation.transcripts()
    if args.search is not None:
        yield from map(transcripts.read, transcripts.search(args.search))
    elif args.row is not None:
        found = next((record for record in transcripts if record.get("id") == args.row), None)
        if found is None:
            raise RunError(f"the evaluation has no row “{args.row}”", where=str(evaluation.results_path))
        yield found
    else:
        for record in transcripts:
            if record and (args.all or record.get("score") not in (None, 1, 1.0) or _malformed(record)):
                yield record


def _malformed(record: dict[str, Any]) -> bool:
    """Whether a judge's verdict on it is missing."""
    return any(sample.get("verdict", {}).get("score", 0) is None for sample in record.get("samples", ()))


def _mark(record: dict[str, Any]) -> str:
    """What a transcript came to, in a word or two."""
    score = record.get("score")
    if any("verdict" in sample for sample in record.get("samples", ())):
        return "judged" if score is not None else "without a verdict"
    if score is None:
        return ""
    return "right" if score == 1 else "wrong" if score == 0 else f"{score:.0%} right"


def _verdict(verdict: dict[str, Any]) -> list[str]:
    """A judge's score and its reasons; a malformed verdict as it was written."""
    from workbench.cli import render

    said = verdict["reasons"]
    head = f"score: {verdict['score']}, says {verdict['judge']}"
    if verdict["score"] is None:
        head, said = (
            f"no score: {verdict['judge']}'s verdict is malformed: {verdict['problem']}",
            verdict["text"],
        )
    lines = render.literal(render.clip(said, 2_000), keep_lines=True).splitlines()
    return [render.literal(head), *(f"  {line}" for line in lines)]


def _lines(record: dict[str, Any]) -> list[str]:
    """A transcript for a person."""
    from workbench.cli import render
    from workbench.cli.steps_text import step_lines

    lines = [render.style(render.literal(f"row {record.get('id')}  {_mark(record)}").rstrip(), "bold")]
    lines.append(render.literal(str(record.get("question", "")), keep_lines=True))
    if record.get("reference"):
        lines.append(f"reference: {render.literal(' or '.join(record['reference']))}")
    for sample in record.get("samples", ()):
        if "verdict" in sample:
            lines += _verdict(sample["verdict"])
        else:
            lines.append(f"answer: {render.literal(str(sample.get('answer')))}")
    for step in record.get("trace", ()):
        lines += step_lines(step)
    return lines
