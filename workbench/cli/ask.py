"""`workbench ask`: a prompt to a model, by any technique, from the shell."""

from __future__ import annotations

import argparse
import asyncio
import json
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
    from workbench.prompting.composition import Composition
    from workbench.prompting.prompt import Prompt
    from workbench.prompting.technique import Task

EXAMPLE = """workbench ask --model SmolLM2-135M-Instruct 'What is the capital of France?'
workbench ask 'Write a commit message for this:' < changes.diff
workbench ask --prompt gsm8k-self-consistency < problem.txt
workbench ask --tools calculator 'What is 1234 times 5678?'
workbench ask --model SmolLM2-135M-Instruct --soft-prompt sst2-prefix 'A gripping film.'
workbench ask --prompt translate --var language=German 'Good morning' --json"""

PLAIN = {"zero_shot", "few_shot"}


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli import models_of, prompting_options

    parser = grammar.add_command(
        commands,
        "ask",
        run,
        help="ask a model, from the shell and in pipes",
        description="Ask a model. What comes in through a pipe is put behind the text of the arguments.\n"
        "The answer goes to standard output, as it is written where it is a single plain one; all talk to\n"
        "standard error. A terminal is shown control characters as escapes; a pipe gets the text as it is.\n"
        "Ends with 1 where the answer does not fit its schema.",
        example=EXAMPLE,
    )
    parser.add_argument("text", metavar="TEXT", nargs="*", default=[], help="what is asked")
    parser.set_defaults(**{grammar.REST: "text"})
    parser.add_argument("--system", metavar="TEXT", help="persona and constraints")
    parser.add_argument("--schema", metavar="FILE", help="a JSON schema that the answer has to fit")
    parser.add_argument(
        "--samples", "-n", type=positive, metavar="N", default=1, help="independent answers (%(default)s)"
    )
    parser.add_argument("--tools", metavar="NAMES", help="calculator, python, search:COLLECTION, mcp:SERVER")
    parser.add_argument("--yes", action="store_true", help="allow all calls of tools, instead of asking")
    parser.add_argument("--trace", action="store_true", help="tell each step on standard error")
    parser.add_argument("--no-stream", action="store_true", help="print the answer when it is complete")
    parser.add_argument(
        "--answer-only", action="store_true", help="print only the answer that was extracted; else end with 1"
    )
    grammar.add_json(parser)
    prompting_options.add_options(parser)
    models_of.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench ask`."""
    from workbench.cli import prompting_options

    prompt, task = asked(args)
    technique = prompting_options.technique_of(args.technique, prompt, args.tools)
    return asyncio.run(_ask(args, task, technique))


def asked(args: argparse.Namespace) -> tuple[Prompt, Task]:
    """The prompt and what is asked, as the arguments and standard input say. Raises `UsageError`."""
    from workbench.cli import prompting_options
    from workbench.prompting.prompts import load_prompt

    text, variables = _text(args.text), prompting_options.variables_of(args.var)
    if args.prompt is None:
        if not text:
            raise UsageError("there is nothing to ask", hint="workbench ask 'TEXT', or --prompt NAME")
        prompt = free_prompt()
    else:
        prompt = load_prompt(args.prompt)
    if text:
        if prompt.input is None:
            raise UsageError(
                f"the prompt {prompt.name} has no single input that the text could be",
                where=text[:60],
                hint=" ".join(f"--var {variable.name}=…" for variable in prompt.variables),
            )
        if prompt.input in variables:
            raise UsageError(
                f"the prompt's {prompt.input} is given twice, as text and by --var", hint="leave one out"
            )
        variables[prompt.input] = text
    return prompt, _changed(prompt.render(variables), args)


def free_prompt() -> Prompt:
    """The prompt of whoever types one: whatever is asked, as it is."""
    from workbench.prompting.prompt import Prompt
    from workbench.prompting.prompt_content import PromptContent

    content = PromptContent(user="{{ question }}", input="question")
    return Prompt("", content, "", "the command line")


def _changed(task: Task, args: argparse.Namespace) -> Task:
    """The task with what the options say in the place of what the prompt says."""
    from workbench.cli import prompting_options

    task = replace(
        task,
        sampling=replace(task.sampling, **prompting_options.sampling_of(args)),
        answer=prompting_options.answer_of(args.answer_kind) or task.answer,
    )
    if args.schema is not None:
        task = replace(task, response_format=_schema(args.schema))
    if args.system is not None:
        rest = [message for message in task.messages if message["role"] != "system"]
        task = task.with_messages({"role": "system", "content": args.system}, *rest)
    return task


def _text(words: list[str]) -> str:
    """The arguments, and what comes through a pipe behind them."""
    parts = [" ".join(words)]
    if sys.stdin is not None and not sys.stdin.isatty():
        try:
            parts.append(sys.stdin.buffer.read().decode().rstrip("\n"))
        except UnicodeDecodeError as error:
            raise UsageError(
                f"standard input is no text: byte {error.start} is not UTF-8", where="standard input"
            ) from None
    return "\n\n".join(part for part in parts if part.strip())


def _schema(name: str) -> dict[str, Any]:
    from workbench.prompting.structured import response_format_of

    path = Path(name).expanduser()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the schema cannot be read: {error.strerror}", where=name) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is not JSON: {error}", where=name) from None
    if not isinstance(value, dict):
        raise UsageError("the schema is not a JSON object", where=name, hint='{"type": "object", …}')
    return response_format_of(value, path.stem)


async def _ask(args: argparse.Namespace, task: Task, technique: Composition) -> int:
    from workbench.cli import models_of
    from workbench.cli.answers import Answers
    from workbench.cli.approval import Approval
    from workbench.prompting.evaluation.observed import Observed
    from workbench.prompting.technique import Session, Trace

    show = Answers(args, streams=_streams(args, technique))
    async with AsyncExitStack() as stack:
        approve = embedder = None
        if "tools" in technique.settings and not args.yes:
            approve = stack.enter_context(Approval.open())
        found = models_of.asked(args)
        if args.embedder is not None:
            other = models_of.find(args.embedder, args.key_env)
            embedder = await stack.enter_async_context(models_of.opened(other))
        model = Observed(await stack.enter_async_context(models_of.opened(found)))
        stack.push_async_callback(technique.aclose)
        trace, hear = Trace(listener=show.step), show.delta if show.streams else None
        session = Session(model, trace, hear, approve, embedder)
        started = time.monotonic()
        outcomes = await technique.run(task, session, args.samples)
        seconds = time.monotonic() - started
    return show.end(technique.name, model, outcomes, trace, seconds)


def _streams(args: argparse.Namespace, technique: Composition) -> bool:
    """Whether the answer is one request's, which can be shown as it is written."""
    whole = args.json or args.no_stream or args.answer_only or args.samples > 1
    rag = technique.settings.get("rag")
    plain = set(technique.settings) <= PLAIN | {"rag"} and not getattr(rag, "rewrite", False)
    return plain and not whole
