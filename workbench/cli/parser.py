"""The command line's grammar. Nothing here, nor in the modules it names, is heavy to import."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from workbench import __version__
from workbench.errors import UsageError

Handler = Callable[[argparse.Namespace], int]
Commands = "argparse._SubParsersAction[Parser]"

# Lists that options may stand in the middle of, as in `train nano a=1 --detach b=2`.
REST = "rest_goes_to"


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are `UsageError`s with the nearest right word as the hint."""

    def __init__(self, *, example: str = "", **options: Any) -> None:
        if example:
            lines = "\n".join(f"  {line}" for line in example.splitlines())
            options["epilog"] = f"example{'s' if chr(10) in example else ''}:\n{lines}"
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self.words: list[str] = []

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.words = [*getattr(self, "words", []), *action.option_strings]
        return action

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        hint = f"{self.prog} --help"
        if choice := re.search(r"^argument COMMAND: invalid choice: '([^']*)'", message):
            message = f"there is no command “{choice[1]}”"
            hint = suggestion(choice[1], self.commands) or f"one of: {', '.join(self.commands)}"
        elif "the following arguments are required: COMMAND" in message:
            message, hint = "a command is missing", f"one of: {', '.join(self.commands)}"
        raise UsageError(message, where=self.prog, hint=hint)

    def refuse(self, words: list[str]) -> NoReturn:
        """Complain of words that no argument takes."""
        word = words[0].partition("=")[0]
        hint = suggestion(word, self.words) if word.startswith("-") else ""
        kind = "option" if word.startswith("-") else "argument"
        raise UsageError(f"unknown {kind} “{words[0]}”", where=self.prog, hint=hint or f"{self.prog} --help")

    @property
    def commands(self) -> list[str]:
        """The names of this parser's commands, if it has any."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return list(action.choices)
        return []


def suggestion(word: str, known: list[str]) -> str:
    """`did you mean …?` with the nearest known word, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else ""


def add_common(parser: Parser, *, root: bool = False) -> None:
    """The options that stand before a command or behind it."""
    default = None if root else argparse.SUPPRESS
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--home", metavar="DIR", default=default, help="the workbench's folder instead of ~/.workbench"
    )
    group.add_argument(
        "--debug",
        action="store_true",
        default=False if root else argparse.SUPPRESS,
        help="show the traceback of an unexpected error",
    )
    parser.words += ["--home", "--debug"]


def add_command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    handler: Handler,
    *,
    help: str,
    example: str,
    description: str = "",
) -> Parser:
    """A command with its help, its example and the function that runs it."""
    parser = commands.add_parser(name, help=help, description=description or help, example=example)
    parser.set_defaults(handler=handler, parser=parser)
    add_common(parser)
    return parser


def add_group(
    commands: argparse._SubParsersAction[Parser], name: str, *, help: str, example: str
) -> argparse._SubParsersAction[Parser]:
    """A command that only holds others, such as `runs`."""
    parser = commands.add_parser(name, help=help, description=help, example=example)
    parser.set_defaults(parser=parser)
    add_common(parser)
    return parser.add_subparsers(
        metavar="COMMAND", dest=f"{name}_command", required=True, parser_class=Parser
    )


def add_json(parser: Parser) -> None:
    """`--json`, for commands whose result a program may read."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def build() -> Parser:
    """The whole grammar."""
    from workbench.cli import (
        ask,
        collections,
        context,
        data,
        doctor,
        estimate,
        evals,
        evaluate,
        export,
        interface,
        launch,
        model,
        models,
        plan,
        predict,
        prompts,
        pull,
        quickstart,
        rank,
        recipes,
        runs,
        scale,
        serve,
        train,
    )

    parser = Parser(
        prog="workbench",
        description="The terminal workbench for large language models: build, train, prompt, rank, align.\n"
        "Without a command it opens the interface.",
        example="workbench                       open the interface\n"
        "workbench quickstart            train a small model now, and watch it\n"
        "workbench train nano training.max_steps=300\n"
        "workbench doctor                what this machine has and lacks",
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    add_common(parser, root=True)
    parser.set_defaults(handler=interface.run, parser=parser)
    interface.add_options(parser, root=True)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", title="commands", parser_class=Parser)
    for module in (
        quickstart,
        train,
        estimate,
        plan,
        launch,
        predict,
        ask,
        evaluate,
        evals,
        context,
        prompts,
        collections,
        serve,
        pull,
        models,
        runs,
        scale,
        export,
        rank,
        recipes,
        data,
        model,
        doctor,
    ):
        module.add_to(commands)
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line. Raises `UsageError`."""
    args, rest = build().parse_known_args(arguments)
    # argparse fills a list once; what follows an option in its middle is left over.
    target = getattr(args, REST, None)
    if target and rest and not any(word.startswith("-") for word in rest):
        setattr(args, target, [*getattr(args, target), *rest])
        rest = []
    if rest:
        parser: Parser = args.parser
        parser.refuse(rest)
    return args
