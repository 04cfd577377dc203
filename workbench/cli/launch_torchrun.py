"""`workbench launch torchrun`: the command lines that train a run on machines without a batch system."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from typing import TYPE_CHECKING

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive

if TYPE_CHECKING:
    from workbench.store.runs import Run

EXAMPLE = """workbench launch torchrun my-recipe.yaml --hosts box1,box2
workbench launch torchrun run-3 --hosts 10.0.0.1,10.0.0.2 --gpus-per-node 4 --json"""
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    from workbench.cli.launch import add_subject

    parser = grammar.add_command(
        commands,
        "torchrun",
        run,
        help="print what to start on each machine where there is no batch system",
        description="Make a run ready and print a command line for each machine. All of them see its folder.",
        example=EXAMPLE,
    )
    add_subject(parser)
    parser.add_argument(
        "--hosts",
        metavar="NAME,…",
        required=True,
        help="the machines; the first is reached by its name",
    )
    parser.add_argument("--port", metavar="N", type=positive, default=29500, help="port there (29500)")
    parser.add_argument("--python", metavar="PATH", default=sys.executable, help="Python on the machines")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench launch torchrun`."""
    from workbench.cli import render
    from workbench.cli.launch import run_for
    from workbench.errors import UsageError

    hosts = [host.strip() for host in args.hosts.split(",") if host.strip()]
    wrong = next((host for host in hosts if not HOST.fullmatch(host)), None)
    if wrong is not None or not hosts or len(set(hosts)) < len(hosts):
        what = f"“{wrong}” is no name of a machine" if wrong else "each machine is named once"
        raise UsageError(what, where=f"--hosts {args.hosts}", hint="such as --hosts box1,box2")
    if args.port > 65535:
        raise UsageError(f"{args.port} is no port", where="--port", hint="1 to 65535")
    made = run_for(args, len(hosts), hosts[0])
    lines = [
        {"host": host, "command": command(made, hosts, number, args.port, args.python)}
        for number, host in enumerate(hosts)
    ]
    if args.json:
        print(render.as_json({"run": made.name, "path": str(made.path), "machines": lines}))
    else:
        print("\n".join(f"# on {line['host']}\n{line['command']}" for line in lines))
    render.talk(f"run {made.name} in {made.path}; it begins when all {len(hosts)} have been started")
    return 0


def command(made: Run, hosts: list[str], number: int, port: int, python: str) -> str:
    """What to type on one machine; output goes to the run's log."""
    from workbench.paths import HOME_VARIABLE, home

    words = [python, "-m", "workbench.training.launcher", str(made.path), "--machine-rank", str(number)]
    words += ["--main-process-ip", hosts[0], "--main-process-port", str(port)]
    place = f"{HOME_VARIABLE}={shlex.quote(str(home()))}"
    return f"{place} nohup {shlex.join(words)} >> {shlex.quote(str(made.log_path))} 2>&1 &"
