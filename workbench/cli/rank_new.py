"""`workbench rank new`: a session of answers that are still to be made, or are there already."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural, positive
from workbench.errors import ServerError, UsageError

if TYPE_CHECKING:
    from workbench.prompting.ranking.sources import ModelSource
    from workbench.store.preferences.contents import Prompt
    from workbench.store.preferences.database import Database
    from workbench.store.preferences.sessions import Session

NEW = """workbench rank new round-1 --prompts prompts.jsonl --model SmolLM2-135M-Instruct --model my-run -n 2
workbench rank new round-2 --prompts chats.jsonl --limit 200 --model box/big --model box/small --temperature 1
workbench rank new judged --completions answers.jsonl
workbench rank new --run my-run"""


def add_to(group: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the group `rank`."""
    from workbench.cli.models_of import HELP

    parser = grammar.add_command(
        group,
        "new",
        run_new,
        help="a session of prompts × models, whose answers are made in the background",
        description="Begin a session: models answer prompts in the background, and what is ready can be\n"
        "ranked; or the answers come from a file; or a run's result is compared with what it began with.",
        example=NEW,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="of the session; with --run, one is made")
    what = parser.add_argument_group("what is ranked")
    what.add_argument("--prompts", metavar="FILE", help="texts or conversations: .jsonl .json .csv .tsv …")
    what.add_argument("--column", metavar="NAME", help="the one that holds the prompts")
    what.add_argument("--limit", type=positive, metavar="N", help="only the first N prompts")
    what.add_argument("--system", metavar="TEXT", help="the system message of prompts that have none")
    what.add_argument("--completions", metavar="FILE", help="answers that are there already")
    what.add_argument("--run", metavar="RUN", help="compare its result with the model that it began with")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--model", "-m", metavar="MODEL", action="append", default=[], help=f"many times: {HELP}"
    )
    models.add_argument("--key-env", metavar="NAME", help="the variable with the key of servers given by URL")
    models.add_argument(
        "--engine", metavar="OPTIONS", default="", help="options of workbench serve, in quotes"
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "-n",
        type=positive,
        default=1,
        metavar="N",
        dest="samples",
        help="answers of each model (%(default)s)",
    )
    sampling.add_argument(
        "--temperature", metavar="T[,T…]", help="several are compared with each other (0.8)"
    )
    sampling.add_argument("--top-p", type=float, metavar="P")
    sampling.add_argument("--max-tokens", type=positive, metavar="N", help="what is longer is cut (512)")
    rest = parser.add_argument_group("session")
    rest.add_argument("--criteria", metavar="TEXT", default="", help="what annotators are told is better")
    rest.add_argument(
        "--repeated",
        type=float,
        metavar="SHARE",
        help="shown twice, to see who agrees with themselves (0.05)",
    )
    rest.add_argument("--seed", type=natural, metavar="N", help="of the order and the answers")
    rest.add_argument("--no-generate", action="store_true", help="make the session only")
    grammar.add_json(parser)


def run_new(args: argparse.Namespace) -> int:
    """Handle `workbench rank new`."""
    from workbench.cli import render
    from workbench.cli.rank_database import opened
    from workbench.prompting.ranking.control import ensure_generating
    from workbench.store.preferences.sessions import counts

    given = [name for name in ("completions", "run") if getattr(args, name)]
    if not args.prompts and not given:
        raise UsageError(
            "what is to be ranked is missing", hint="--prompts FILE, --completions FILE or --run RUN"
        )
    if len(given) == 2 or (args.completions and args.prompts):
        raise UsageError(
            "answers are either there, in --completions, or are made", hint="give one of the two"
        )
    if args.name is None and args.run is None:
        raise UsageError("the session needs a name", hint="workbench rank new NAME …")
    with opened() as database:
        session = _of_completions(database, args) if args.completions else _of_prompts(database, args)
        known = counts(database, session)
    status = None
    if session.settings.models and not args.no_generate:
        status = ensure_generating(session)
    if args.json:
        told = {"session": session.name, "prompts": known.prompts, "items": known.items, "seed": session.seed}
        print(render.as_json({**told, "models": list(session.settings.models)}))
        return 0
    print(session.name)
    if status is not None:
        render.talk(
            f"{known.prompts:,} prompts, {session.settings.answers_per_prompt} answers to each, made in the "
            f"background: workbench rank generate {session.name} shows how far they are"
        )
    elif not session.settings.models:
        render.talk(f"{known.items:,} sets of answers; rank them in the tab Rank")
    return 0


def _of_completions(database: Database, args: argparse.Namespace) -> Session:
    from workbench.prompting.ranking.completions import create_from_completions
    from workbench.store.preferences.order import REPEATED_SHARE
    from workbench.store.preferences.sessions import Settings

    repeated = REPEATED_SHARE if args.repeated is None else args.repeated
    path = Path(args.completions).expanduser()
    settings = Settings(criteria=args.criteria, repeated=repeated, extra={"imported_from": path.name})
    session, _ = create_from_completions(
        database, args.name, path, limit=args.limit, settings=settings, seed=args.seed
    )
    return session


def _of_prompts(database: Database, args: argparse.Namespace) -> Session:
    from workbench.prompting.ranking.create import Plan, create
    from workbench.prompting.ranking.old_new import PROMPTS, old_against_new
    from workbench.store.preferences.order import REPEATED_SHARE
    from workbench.store.runs import find_run

    sampling = _sampling(args)
    if args.run is not None:
        if args.model or len(sampling) > 1:
            raise UsageError("--run compares two models, under one temperature", hint="leave the others out")
        return old_against_new(
            database,
            find_run(args.run),
            _prompts(args) if args.prompts else None,
            count=args.limit or PROMPTS,
            name=args.name,
            sampling=sampling[0],
            samples=args.samples,
            seed=args.seed,
        )
    models = [source_of(word, args.key_env, args.engine) for word in args.model]
    repeated = REPEATED_SHARE if args.repeated is None else args.repeated
    plan = Plan(args.name, models, sampling, args.samples, args.criteria, repeated, args.seed)
    return create(database, plan, _prompts(args))


def _prompts(args: argparse.Namespace) -> list[Prompt]:
    from workbench.cli import render
    from workbench.prompting.ranking.prompts import read_prompts

    path = Path(args.prompts).expanduser()
    found = read_prompts(path, column=args.column, limit=args.limit, system=args.system)
    render.talk(found.in_words())
    return list(found.prompts)


def _sampling(args: argparse.Namespace) -> list[dict[str, Any]]:
    from workbench.prompting.ranking.create import MAX_TOKENS, TEMPERATURE

    try:
        words = [] if args.temperature is None else args.temperature.split(",")
        temperatures = [float(word) for word in words] or [TEMPERATURE]
    except ValueError:
        raise UsageError(f"--temperature {args.temperature} is no number", hint="0.8, or 0.5,1.0") from None
    rest = {"max_tokens": args.max_tokens or MAX_TOKENS}
    rest |= {} if args.top_p is None else {"top_p": args.top_p}
    return [{"temperature": temperature, **rest} for temperature in dict.fromkeys(temperatures)]


def source_of(word: str, key_env: str | None = None, engine: str = "") -> ModelSource:
    """The model that a word on the command line means, as a session keeps it. Raises as `models_of.find`."""
    from workbench.cli import models_of
    from workbench.inference.servers import configured
    from workbench.prompting.ranking.sources import ModelSource

    found = models_of.find(word, key_env, engine)
    if found.server is None:
        if found.name is None:
            raise ServerError("which model it is cannot be told", where=word)
        return ModelSource("local", found.name, options=found.options)
    if any(found.server == server for server in configured()):
        return ModelSource("server", found.name or "", found.server.name)
    return ModelSource("place", found.name or "", found.server.where, key_env=key_env or "")
