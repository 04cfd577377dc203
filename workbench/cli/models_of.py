"""Which model a word on the command line means, and getting hold of it: at a server, or in an engine here."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.errors import ModelError, ServerError, UsageError
from workbench.store.pulled import every_pulled, find_pulled
from workbench.store.runs import list_runs

if TYPE_CHECKING:
    from workbench.cli.engine_model import EngineModel
    from workbench.inference.client import RemoteModel
    from workbench.inference.servers import Server
    from workbench.store.engines import EngineState

HERE = "this machine"
HELP = (
    "SERVER/NAME or SERVER of servers.yaml, a running engine, a URL or a socket (URL#NAME where it has "
    "several), or a run, folder, GGUF file or hub name, for which an engine is started"
)


@dataclass(frozen=True)
class Found:
    """A model that was meant: at a `server`, where no `name` is the only one it has; or, without a server,
    one of this machine, `name` being its folder, file or hub name.

    `place` is what its results are kept under: the server's name, its URL, or this machine.
    """

    place: str
    name: str | None
    server: Server | None = None
    options: tuple[str, ...] = ()
    soft_prompt: str | None = None

    def identity(self) -> dict[str, Any]:
        """What tells it from other models, and from itself once its files are others."""
        files = _files(Path(self.name)) if self.server is None and self.name else None
        known: dict[str, Any] = {"name": self.name, "place": self.place, "options": list(self.options)}
        known["files"] = files
        if self.soft_prompt is not None:
            known["soft_prompt"] = self.soft_prompt
            known["soft_prompt_files"] = _files(Path(self.soft_prompt).expanduser())
        return {key: value for key, value in known.items() if value}


def add_options(parser: grammar.Parser) -> None:
    """How a model is named."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", "-m", metavar="MODEL", dest="asked_model", help=HELP)
    group.add_argument("--key-env", metavar="NAME", help="the variable with the key of a server given by URL")
    group.add_argument(
        "--engine",
        metavar="OPTIONS",
        default="",
        help="options of workbench serve, in quotes, for an engine that is started: '--dtype float32'",
    )
    group.add_argument(
        "--soft-prompt",
        metavar="NAME",
        help="a soft prompt of its engine before the prompt: a name, a run that was tuned on it, a folder",
    )
    group.add_argument(
        "--embedder",
        metavar="MODEL",
        help="the model that embeds, for retrieval and the nearest demonstrations",
    )
    parser.words += ["--model", "-m", "--key-env", "--engine", "--soft-prompt", "--embedder"]


def asked(args: argparse.Namespace, word: str | None = None) -> Found:
    """The model that the options name, or else `word`, behind the soft prompt that they name.

    Raises as `find` does.
    """
    found = find(args.asked_model or word, args.key_env, args.engine)
    return replace(found, soft_prompt=args.soft_prompt)


def find(word: str | None, key_env: str | None = None, engine: str = "") -> Found:
    """The model that a word means; without one, the only one that is there.

    Raises `UsageError`, `ServerError`, and `RunError` for a name that is nothing.
    """
    from workbench.inference import launch
    from workbench.inference.servers import configured, server_at

    options = engine_options(engine)
    servers, engines = configured(), launch.running()
    if word is None:
        return _only(servers, engines)
    for server in servers:
        if word == server.name or word.startswith(f"{server.name}/"):
            return Found(server.name, word[len(server.name) + 1 :] or None, server)
    for state in engines:
        if word == state.name or (word == state.model and options in ((), tuple(state.options))):
            return Found(HERE, state.model, None, tuple(state.options))
    place, _, name = word.partition("#")
    if place.startswith(("http://", "https://")) or Path(place).expanduser().is_socket():
        server = server_at(place, _key(key_env))
        return Found(server.where, name or None, server)
    return Found(HERE, _local(word), None, options)


def engine_options(text: str) -> tuple[str, ...]:
    """Options for an engine in their one form. Raises `UsageError`."""
    from workbench.inference.options import add_model_options, as_arguments, rope_of

    parser = grammar.Parser(prog="--engine", add_help=False)
    add_model_options(parser)
    try:
        args, rest = parser.parse_known_args(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"--engine “{text}” cannot be read: {error}", hint="--engine '--dtype float32'"
        ) from None
    if rest:
        parser.refuse(rest)
    rope_of(args)
    return tuple(as_arguments(args))


@asynccontextmanager
async def opened(found: Found) -> AsyncIterator[RemoteModel | EngineModel]:
    """The model, ready to be asked; an engine is started where there is none. Raises `ServerError`."""
    from workbench.cli.engine_model import EngineModel, behind
    from workbench.inference.client import Client

    if found.server is not None:
        async with Client(found.server) as client:
            yield await behind(await client.model(found.name), found.soft_prompt)
        return
    assert found.name is not None
    async with EngineModel(found.name, found.options, found.soft_prompt) as model:
        yield model


async def named(found: Found) -> Found:
    """The same model with the name it has at its server. Raises `ServerError`."""
    if found.name is not None:
        return found
    async with opened(replace(found, soft_prompt=None)) as model:
        return replace(found, name=model.name)


def _only(servers: list[Server], engines: list[EngineState]) -> Found:
    """The one model that can be meant where none is named."""
    if len(engines) == 1:
        return Found(HERE, engines[0].model, None, tuple(engines[0].options))
    if len(servers) == 1 and not engines:
        return Found(servers[0].name, None, servers[0])
    names = [state.name for state in engines] + [server.name for server in servers]
    raise UsageError(
        "which model? There is no running engine" if not names else "which model? There are several",
        hint=f"--model with one of: {', '.join(names)}"
        if names
        else "--model SmolLM2-135M-Instruct, after: workbench pull SmolLM2-135M-Instruct",
    )


def _local(word: str) -> str:
    """The folder, file or hub name of a model of this machine."""
    from workbench.cli.prediction import model_folder

    path = Path(word).expanduser()
    if path.exists() and not (path / "status.json").exists():
        return str(path.resolve())
    pulled = find_pulled(word)
    if pulled is not None:
        return str(pulled)
    if word.endswith(".gguf") or word.startswith((".", "/", "~")):
        raise _nowhere(word)
    if "/" not in word and all(run.name != word for run in list_runs()):
        raise _unknown(word)
    return model_folder(word)[0]


def _unknown(word: str) -> ModelError:
    """A name that nothing here has."""
    from workbench.inference.pulling.known import find_known

    names = [run.name for run in list_runs()] + [path.name for path in every_pulled()]
    near = difflib.get_close_matches(word, names, n=1)
    if find_known(word) is not None:
        hint = f"fetch it: workbench pull {word}"
    elif near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = "workbench models and workbench pull show what there is; names on the hub are like owner/model"
    return ModelError(
        f"there is no model called “{word}”: no server, running engine, fetched model, run or folder",
        hint=hint,
    )


def _files(model: Path) -> str | None:
    """A word that changes with the sizes and times of a local model's files."""
    found = sorted(model.glob("*.[sjg]*")) if model.is_dir() else [model]
    try:
        known = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    except OSError:
        return None
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


def _nowhere(word: str) -> ServerError:
    return ServerError("there is no such model, engine or server", where=word, hint="workbench models")


def _key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise UsageError(f"the variable {variable} is not set", where="--key-env")
    return key
