"""`workbench prompts …`: the prompts there are, what they say, and their versions."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.prompting.prompt import Prompt

EXAMPLE = """workbench prompts list
workbench prompts show summarise
workbench prompts render translate --var language=German --var text='Good morning'"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(commands, "prompts", help="see prompts and their versions", example=EXAMPLE)
    parser = grammar.add_command(
        group, "list", run_list, help="list the prompts there are", example="workbench prompts list"
    )
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "show",
        run_show,
        help="show a prompt: its variables, and its text",
        example="workbench prompts show summarise\nworkbench prompts show summarise > mine.yaml",
    )
    parser.add_argument("prompt", metavar="NAME", help="a prompt's name, or a .yaml file")
    parser.add_argument("--version", metavar="HASH", help="a kept version")
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "render",
        run_render,
        help="show the messages of a prompt with values in it",
        example="workbench prompts render translate --var language=German --var text='Good morning'",
    )
    parser.add_argument("prompt", metavar="NAME", help="a prompt's name, or a .yaml file")
    parser.add_argument(
        "--var", metavar="NAME=VALUE", action="append", default=[], help="as for workbench ask"
    )
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "versions",
        run_versions,
        help="list the versions of a prompt, or go back to one",
        example="workbench prompts versions summarise\n"
        "workbench prompts versions summarise --restore 3f2a91bc",
    )
    parser.add_argument("prompt", metavar="NAME", help="a prompt's name")
    parser.add_argument("--restore", metavar="HASH", help="make this version the one the name stands for")
    grammar.add_json(parser)


def run_list(args: argparse.Namespace) -> int:
    """Handle `workbench prompts list`."""
    from workbench.cli import render
    from workbench.prompting.prompts import list_prompts

    found = list_prompts()
    if args.json:
        keys = ("name", "description", "builtin")
        print(
            render.as_json([{**{k: getattr(one, k) for k in keys}, "path": str(one.path)} for one in found])
        )
        return 0
    rows = [
        [render.literal(one.name), "" if one.builtin else "yours", render.literal(one.description)]
        for one in found
    ]
    print(render.table(["name", "", "for"], rows))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Handle `workbench prompts show`: the text on standard output, what it needs on standard error."""
    from workbench.cli import render
    from workbench.prompting.prompt_versions import load_version
    from workbench.prompting.prompts import load_prompt

    prompt = load_version(args.prompt, args.version) if args.version else load_prompt(args.prompt)
    if args.json:
        print(render.as_json(_as_json(prompt)))
        return 0
    lines = [("file", prompt.where), ("version", prompt.version), ("technique", prompt.technique().name)]
    for variable in prompt.variables:
        value = "must be given" if variable.required else f"{variable.default!r} if not given"
        about = f"{variable.description} ({value})" if variable.description else value
        lines.append((f"{{{{ {variable.name} }}}}", about))
    render.talk(render.pairs([(render.literal(name), render.literal(value)) for name, value in lines]) + "\n")
    print(_shown(prompt.text.rstrip("\n")))
    return 0


def run_render(args: argparse.Namespace) -> int:
    """Handle `workbench prompts render`."""
    from workbench.cli import prompting_options, render
    from workbench.prompting.prompts import load_prompt

    task = load_prompt(args.prompt).render(prompting_options.variables_of(args.var))
    if args.json:
        print(render.as_json(list(task.messages)))
        return 0
    parts = [
        f"{render.style(message['role'], 'bold')}\n{_shown(message['content'])}" for message in task.messages
    ]
    print("\n\n".join(parts))
    return 0


def run_versions(args: argparse.Namespace) -> int:
    """Handle `workbench prompts versions`."""
    import time

    from workbench import units
    from workbench.cli import render
    from workbench.prompting.prompt_versions import prompt_versions, restore_prompt

    if args.restore is not None:
        prompt = restore_prompt(args.prompt, args.restore)
        render.talk(f"{prompt.name} is version {prompt.version} now, in {prompt.where}")
    found = prompt_versions(args.prompt)
    if args.json:
        print(
            render.as_json(
                [
                    {
                        "version": one.version,
                        "path": str(one.path),
                        "saved": one.saved,
                        "current": one.current,
                    }
                    for one in found
                ]
            )
        )
    elif found:
        now = time.time()
        rows = [[one.version, units.duration(now - one.saved), "now" if one.current else ""] for one in found]
        print(render.table(["version", "age", ""], rows, right=(1,)))
    else:
        render.talk(f"no version of {args.prompt} was saved yet")
    return 0


def _as_json(prompt: Prompt) -> dict[str, Any]:
    return {
        "name": prompt.name,
        "where": prompt.where,
        "version": prompt.version,
        "description": prompt.description,
        "technique": prompt.technique().specification(),
        "input": prompt.input,
        "variables": [
            {
                "name": one.name,
                "required": one.required,
                "default": one.default,
                "description": one.description,
            }
            for one in prompt.variables
        ],
        "content": prompt.content.model_dump(mode="json", exclude_unset=True),
        "text": prompt.text,
    }


def _shown(text: str) -> str:
    """Text of prompts: literal on a terminal, as it is in a pipe."""
    import sys

    from workbench.cli import render

    return render.literal(text, keep_lines=True) if render.is_terminal(sys.stdout) else text
