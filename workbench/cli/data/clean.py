"""`workbench data clean`: clean a corpus by a recipe; look at what was done; try the rules first."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural, positive

EXAMPLE = """workbench data clean web data.sources=['pages/*.jsonl'] run.name=pages
workbench data clean text data.sources=[corpus.jsonl] --dry-run 500
workbench data clean conversations data.sources=[talks.jsonl] decontamination.eval_sources=[test.jsonl]
workbench data clean web data.sources=['crawl/*.parquet'] executor=slurm executor.partition=cpu --detach
workbench data clean --list
workbench data clean pages --report
workbench data clean pages --examples pii"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""

    parser = grammar.add_command(
        commands,
        "clean",
        run,
        help="clean a corpus: quality, language, personal data, abuse, test questions, copies",
        example=EXAMPLE,
        description="Clean a corpus by a recipe, or look at a cleaning. The same command goes on where one "
        "was cut off.",
    )
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        help="a preset's name or a file ending in .yaml; with the options below, the name of a cleaning",
    )
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="keys of the recipe, as in data.sources=[a.jsonl]"
    )
    parser.set_defaults(**{grammar.REST: "overrides"})
    parser.add_argument("--detach", action="store_true", help="start it and return")
    parser.add_argument(
        "--dry-run", metavar="N", type=positive, help="try the rules on N records; nothing is kept"
    )
    parser.add_argument("--plan", action="store_true", help="shards and stages, and the script for Slurm")
    looks = parser.add_argument_group("looking at cleanings")
    looks.add_argument("--list", action="store_true", help="the cleanings, and the presets")
    looks.add_argument("--report", action="store_true", help="counts, mixture, diversity and bias of one")
    looks.add_argument("--card", action="store_true", help="the data card of one")
    looks.add_argument("--examples", metavar="STEP", help="what a step dropped and changed, before and after")
    looks.add_argument("--reason", metavar="REASON", default="", help="with --examples: only for this reason")
    looks.add_argument("--start", metavar="N", type=natural, default=0, help="with --examples: the first (0)")
    looks.add_argument(
        "--count", metavar="N", type=positive, default=10, help="with --examples: how many (10)"
    )
    looks.add_argument("--stop", action="store_true", help="end one; what its tasks have finished stays")
    looks.add_argument("--resume", action="store_true", help="go on with one")
    looks.add_argument("--rm", action="store_true", help="remove one, and its result where that lies within")
    looks.add_argument("--keys", action="store_true", help="every key of a recipe, its default and meaning")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench data clean`."""
    from workbench.cli.data import clean_looks
    from workbench.errors import UsageError

    if args.list:
        return clean_looks.show_list(args)
    if args.keys:
        return clean_looks.show_keys(args)
    _check(args)
    for name, handler in clean_looks.HANDLERS.items():
        if getattr(args, name):
            if args.overrides:
                raise UsageError(
                    f"--{name} takes the name of a cleaning and no keys",
                    where=args.overrides[0],
                    hint="to go on with other workers: the command that began it, with executor.workers=N",
                )
            return handler(args)
    return _clean(args)


def _check(args: argparse.Namespace) -> None:
    from workbench.errors import UsageError

    if args.recipe is None:
        raise UsageError(
            "a recipe is missing",
            where="workbench data clean",
            hint="web, text, conversations, code, or a file ending in .yaml; --list shows what there is",
        )


def _clean(args: argparse.Namespace) -> int:
    from workbench.cli import render
    from workbench.cli.data import clean_text
    from workbench.cli.data.clean_follow import follow
    from workbench.cli.train import stem_of
    from workbench.recipe.cleaning import load_cleaning
    from workbench.store.cleaning import open_cleaning
    from workbench.store.cleaning_launch import ask, start

    recipe = load_cleaning(args.recipe, args.overrides)
    if args.dry_run:
        render.talk(f"trying the rules on {args.dry_run:,} records …")
        found = ask(recipe, "dry_run", count=args.dry_run)
        print(render.as_json(found) if args.json else clean_text.trial(found))
        return 0
    if args.plan:
        found = ask(recipe, "plan")
        print(render.as_json(found) if args.json else clean_text.plan(found))
        return 0
    cleaning, was_there = open_cleaning(recipe, stem_of(args.recipe))
    status = cleaning.status()
    if was_there:
        render.talk(
            f"{cleaning.name} is {status.seen_state()}" + ("" if status.state == "finished" else "; going on")
        )
    if status.state != "finished" and not status.is_active:
        start(cleaning)
    if args.detach:
        print(cleaning.name)
        return 0
    return follow(cleaning, args)
