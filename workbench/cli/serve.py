"""`workbench serve`: a model behind the OpenAI protocol, until it is told to stop."""

from __future__ import annotations

import argparse
import os
import secrets
import sys

from workbench.cli import parser as grammar
from workbench.errors import UsageError
from workbench.inference.options import add_model_options, as_arguments, rope_of

LOCAL = ("127.0.0.1", "localhost", "::1")


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command."""
    parser = grammar.add_command(
        commands,
        "serve",
        run,
        help="serve a model over the OpenAI protocol",
        description="Serve a model over the OpenAI protocol: a folder, a run, a hub name, a GGUF file.\n"
        "Without --port it listens on a Unix socket that only you may use.",
        example="workbench serve runs/quickstart-1/final\n"
        "workbench serve ./model --port 8000          with a key, which is printed\n"
        "workbench serve ./model --soft-prompt polite=runs/polite-1/final\n"
        "workbench serve ./model --rope-scaling yarn --rope-factor 4\n"
        "workbench serve ./model --socket /run/user/1000/model.sock",
    )
    parser.add_argument("model", help="folder, name of a run, name on the hub, or GGUF file")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--port", type=int, help="listen on TCP; a key is needed")
    place.add_argument("--socket", metavar="PATH", help="listen on this Unix socket")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        help="take the key from this variable; else WORKBENCH_KEY, else a new one",
    )
    parser.add_argument("--no-key", action="store_true", help="let everybody on this machine in")
    parser.add_argument("--idle-minutes", type=float, help="end when nobody asked anything for so long")
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Become the engine, so that whoever ends this process ends the engine. Returns only by raising."""
    rope_of(args)
    environment = dict(os.environ)
    command = [sys.executable, "-m", "workbench.inference", args.model, *as_arguments(args)]
    if args.idle_minutes is not None:
        command += ["--idle-minutes", str(args.idle_minutes)]
    if args.port is not None:
        if not 0 <= args.port < 65536:
            raise UsageError(f"{args.port} is no port", where="--port", hint="0 takes a free one")
        key = _key(args)
        environment.pop("WORKBENCH_KEY", None)
        if key:
            environment["WORKBENCH_KEY"] = key
        command += ["--host", args.host, "--port", str(args.port)]
    else:
        environment.pop("WORKBENCH_KEY", None)
        command += ["--socket", args.socket or _socket()]
    sys.stderr.flush()
    os.execve(command[0], command, environment)


def _key(args: argparse.Namespace) -> str | None:
    if args.no_key:
        if args.host not in LOCAL:
            raise UsageError(
                "without a key it is served to this machine alone",
                where=f"--host {args.host}",
                hint="leave out --no-key",
            )
        return None
    name = args.key_env or "WORKBENCH_KEY"
    key = os.environ.get(name, "")
    if key:
        return key
    if args.key_env:
        raise UsageError(f"the variable {name} is not set", where="--key-env")
    key = secrets.token_urlsafe(24)
    print(f"key: {key}", file=sys.stderr)
    return key


def _socket() -> str:
    from workbench.store.engines import socket_dir

    return str(socket_dir() / f"serve-{os.getpid()}.sock")
