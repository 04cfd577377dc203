"""What `ask` and `eval --prompt` share: the prompt, its variables, how tokens are drawn, the technique."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.errors import PromptError, UsageError

if TYPE_CHECKING:
    from workbench.prompting.answers import Answer
    from workbench.prompting.composition import Composition
    from workbench.prompting.prompt import Prompt

SAMPLING = (
    ("max_tokens", int, "most tokens to write"),
    ("temperature", float, "0 always takes the likeliest token"),
    ("top_p", float, "draw from the likeliest tokens of this share of probability"),
    ("top_k", int, "draw from so many of the likeliest tokens"),
    ("min_p", float, "leave out tokens below this share of the likeliest one's probability"),
    ("presence_penalty", float, "taken off every token that has occurred"),
    ("frequency_penalty", float, "taken off a token for each time it has occurred"),
    ("repetition_penalty", float, "divides every token that has occurred"),
    ("seed", int, "makes the draws reproducible"),
)


def add_options(parser: grammar.Parser) -> None:
    """The options of both commands."""
    group = parser.add_argument_group("prompt")
    group.add_argument(
        "--prompt", "-p", metavar="NAME", help="a prompt: see workbench prompts list, or a .yaml file"
    )
    group.add_argument(
        "--var",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable of the prompt; NAME=@FILE takes a file's text, NAME:=JSON a value",
    )
    group.add_argument("--technique", "-t", metavar="SPEC", help="such as cot+self_consistency, or YAML")
    group.add_argument(
        "--answer-kind",
        metavar="KIND",
        help="what to look for in the answer: number, choice[:A,B,…], yes_no, text, json[:FIELD]",
    )
    group = parser.add_argument_group("sampling")
    for name, kind, help in SAMPLING:
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=help)
    group.add_argument("--stop", metavar="TEXT", action="append", help="a text at which the answer ends")
    options = ("prompt", "var", "technique", "answer-kind", "stop", *(name for name, _, _ in SAMPLING))
    parser.words += [f"--{name.replace('_', '-')}" for name in options]


def variables_of(words: list[str]) -> dict[str, Any]:
    """Variables as `--var` gives them. Raises `UsageError`."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        as_json = name.endswith(":")
        name = name.removesuffix(":").strip()
        if not equals or not name:
            raise UsageError(f"--var {word} gives no variable a value", hint="--var NAME=VALUE")
        try:
            if as_json:
                found[name] = json.loads(value)
            else:
                found[name] = Path(value[1:]).expanduser().read_text() if value.startswith("@") else value
        except (ValueError, RecursionError) as error:
            what = "is not JSON" if as_json else "is no text file"
            raise UsageError(f"--var {name}: {value[:60]} {what}: {error}") from None
        except OSError as error:
            raise UsageError(
                f"--var {name}: the file cannot be read: {error.strerror}",
                where=value[1:],
                hint=f"--var {name}:='\"@…\"' for a text that begins with @",
            ) from None
    return found


def sampling_of(args: argparse.Namespace) -> dict[str, Any]:
    """What is said of sampling, and nothing else. Raises `PromptError`."""
    from workbench.prompting.prompt_content import SamplingSection
    from workbench.prompting.validation import check

    given = {name: getattr(args, name) for name, _, _ in SAMPLING if getattr(args, name) is not None}
    check(SamplingSection, given, "sampling options")
    return {**given, "stop": tuple(args.stop)} if args.stop else given


def answer_of(text: str | None) -> Answer | None:
    """The kind of answer that `--answer-kind` names. Raises `PromptError`."""
    if text is None:
        return None
    from workbench.prompting.answers import Answer
    from workbench.prompting.validation import check

    kind, _, rest = text.partition(":")
    value: dict[str, Any] = {"kind": kind}
    if rest:
        value |= (
            {"field": rest} if kind == "json" else {"options": [word.strip() for word in rest.split(",")]}
        )
    return check(Answer, value, "--answer-kind")


def technique_of(spec: str | None, prompt: Prompt, tools: str | None = None) -> Composition:
    """The technique that is asked for, or the prompt's own; with tools. Raises `PromptError`."""
    from workbench.prompting.composition import build, parse

    if spec is None and tools is None:
        return prompt.technique()
    parts = parse(spec if spec is not None else prompt.content.technique)
    if tools is not None:
        names = [name.strip() for name in tools.split(",") if name.strip()]
        if not names:
            raise PromptError("--tools names no tool", hint="--tools calculator,python")
        parts.pop("zero_shot", None)
        parts["tools"] = {**parts.get("tools", {}), "tools": names}
    return build(parts)
