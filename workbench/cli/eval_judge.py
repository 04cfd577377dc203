"""What `workbench eval --prompt` is told of a judge: which model, by what rubric, on what scale."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.prompting.judging.settings import JudgeSettings
    from workbench.prompting.prompt import Prompt

DESCRIPTION = """\
With --judge, or --metric judge, a model scores each answer on its own, at temperature 0, by the rubric and
the reference, if there is one; its reasons are kept. The prompt file may say the same under judge: {model,
rubric, scale, max_tokens, seed}. Judges have known biases: they prefer answers of their own kind (so a model
that judges itself is warned of), long and confident ones, and scores near the top. That answers are judged
one by one keeps their order from mattering. Check some verdicts by hand: workbench evals show NAME --all."""


def add_options(parser: grammar.Parser) -> None:
    """The options of judging."""
    group = parser.add_argument_group("judge", DESCRIPTION)
    group.add_argument("--judge", metavar="MODEL", help="the model that judges, named as --model is")
    group.add_argument(
        "--rubric", metavar="TEXT", help="what makes an answer good; @FILE takes a file's text"
    )
    group.add_argument("--scale", metavar="LOW-HIGH", type=_scale, help="the worst and the best score (1-5)")
    parser.words += ["--judge", "--rubric", "--scale"]


def metric_of(args: argparse.Namespace) -> str:
    """The metric that is asked for, which any option of judging makes the judge. Raises `UsageError`."""
    given = [name for name in ("judge", "rubric", "scale") if getattr(args, name) is not None]
    if given and args.metric not in (None, "judge"):
        raise UsageError(
            f"--{given[0]} is for answers that are judged, and --metric {args.metric} judges none",
            where=f"--{given[0]}",
            hint="leave out one of them",
        )
    return "judge" if given else str(args.metric or "answer")


def settings_of(args: argparse.Namespace, prompt: Prompt) -> JudgeSettings | None:
    """How answers are judged: as the prompt says, and the options above it; None where they are not.

    Raises `UsageError` where no model is named, `PromptError`.
    """
    from workbench.prompting.judging.settings import JudgeSettings
    from workbench.prompting.validation import check

    if metric_of(args) != "judge":
        return None
    own = prompt.content.judge
    given: dict[str, Any] = {} if own is None else own.model_dump(exclude_unset=True)
    if args.judge is not None:
        given["model"] = args.judge
    if args.rubric is not None:
        given["rubric"] = _text(args.rubric)
    if args.scale is not None:
        given["scale"] = args.scale
    settings = check(JudgeSettings, given, "judge")
    if not settings.model:
        raise UsageError(
            "no model is named that judges",
            where="--metric judge",
            hint="--judge MODEL, or judge: {model: MODEL} in the prompt file",
        )
    return settings


def _text(value: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text file"
        raise UsageError(f"the rubric cannot be read: {why}", where=value[1:]) from None


def _scale(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(-?\d+)[-:,–](-?\d+)", text.strip())
    if found is None:
        raise ValueError
    return int(found[1]), int(found[2])


_scale.__name__ = "scale such as 1-5"
