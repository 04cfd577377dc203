"""`workbench models`: the models of all configured servers and running engines."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.inference.servers import Server

SECONDS = 5.0
"""How long a server may take to say what it has."""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "models",
        run,
        help="list the models of all servers and running engines",
        description="List the models of all servers in servers.yaml, and of the engines that run here.\n"
        "A server that does not answer is a line of its own.",
        example="workbench models\nworkbench models --json",
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench models`."""
    from workbench.cli import render

    found = asyncio.run(every())
    if args.json:
        print(render.as_json(found))
    elif found:
        print(
            render.table(["model", "server", "where", "tokens", ""], [_cells(line) for line in found], (3,))
        )
    else:
        render.talk("no server is configured and no engine runs; workbench serve MODEL starts one")
    return 0


async def every() -> list[dict[str, Any]]:
    """A line for each model, and one for each server that does not answer; all are asked at once."""
    from workbench.inference import launch
    from workbench.inference.servers import configured

    lines = await asyncio.gather(*(_of_server(server) for server in configured()))
    engines = [_of_engine(state) for state in launch.running()]
    return [line for group in lines for line in group] + engines


async def _of_server(server: Server) -> list[dict[str, Any]]:
    from workbench.errors import ServerError
    from workbench.inference.client import Client

    about = {"server": server.name, "where": server.where, "state": "ready", "error": None}
    try:
        async with asyncio.timeout(SECONDS), Client(server) as client:
            models = await client.models()
    except ServerError as error:
        return [{**about, "model": None, "max_length": None, "state": "unreachable", "error": error.message}]
    except TimeoutError:
        said = f"no answer in {SECONDS:g} seconds"
        return [{**about, "model": None, "max_length": None, "state": "unreachable", "error": said}]
    return [{**about, "model": model.name, "max_length": model.max_length} for model in models]


def _of_engine(state: Any) -> dict[str, Any]:
    """What an engine of this machine says of itself, which needs no request."""
    return {
        "server": state.name,
        "where": state.socket,
        "state": state.seen_state(),
        "error": None,
        "model": state.model,
        "max_length": None,
    }


def _cells(line: dict[str, Any]) -> list[str]:
    from workbench.cli import render
    from workbench.units import NONE

    state = line["error"] or ("" if line["state"] == "ready" else line["state"])
    length = NONE if line["max_length"] is None else f"{line['max_length']:,}"
    words = [line["model"] or NONE, line["server"], line["where"]]
    return [*map(render.literal, words), length, render.literal(state)]
