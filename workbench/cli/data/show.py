"""`workbench data show`: what there is in a source, of which kind, and its first records."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural

EXAMPLE = """workbench data show reviews.csv
workbench data show 'texts/**/*.txt' --records 1
workbench data show train.jsonl --search refund
workbench data show reviews.csv columns='{text: review, label: stars}'"""
SHOWN = 400
"""Characters of a value; the rest is told by its length."""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""

    parser = grammar.add_command(
        commands,
        "show",
        run,
        help="say what sources hold: kind, columns, counts, what is wrong, the first records",
        example=EXAMPLE,
    )
    parser.add_argument(
        "words",
        metavar="SOURCE",
        nargs="+",
        help="a file, glob, folder, stdlib: or data set; key=value says how they are read, as in a recipe",
    )
    parser.set_defaults(**{grammar.REST: "words"})
    parser.add_argument("--records", metavar="N", type=natural, default=3, help="records shown (3)")
    parser.add_argument("--search", metavar="TEXT", help="show records that contain a text instead")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench data show`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.store.inspector import Inspector

    specs = sources_of(args.words)
    with Inspector() as inspector:
        found = ask(inspector, "sources", debug=args.debug, data={"sources": specs})["sources"]
        for spec, source in zip(specs, found, strict=True):
            source["first"] = _records(inspector, spec, source, args)
    broken = [source for source in found if _is_broken(source)]
    if args.json:
        print(render.as_json({"sources": found}))
    else:
        # Of a source that gave nothing there is only the error to tell.
        shown = [source for source in found if source["records"] or source is not next(iter(broken), None)]
        if shown:
            print("\n\n".join(text_of(source, searched=args.search) for source in shown))
    if broken:
        raise _error_of(broken[0])
    return 0


def _is_broken(source: dict[str, Any]) -> bool:
    """Whether nothing can be made of it, or reading it ended at an error."""
    stopped = not source["complete"] and bool(source["problems"])
    return source["kind"] is None or not source["records"] or stopped


def sources_of(words: list[str]) -> list[dict[str, Any]]:
    """Sources as a recipe writes them: words with a known key before `=` go for all of them."""
    from workbench.errors import UsageError
    from workbench.recipe import SourceSpec
    from workbench.recipe.load import apply_override

    def is_setting(word: str) -> bool:
        key, equals, _ = word.partition("=")
        return bool(equals) and key.split(".")[0] in SourceSpec.model_fields

    paths = [word for word in words if not is_setting(word)]
    if not paths:
        raise UsageError("no source is named", where="workbench data show", hint="for example: stdlib:")
    mapping: dict[str, Any] = {"data": {"sources": [{"path": path} for path in paths]}}
    for word in filter(is_setting, words):
        for number in range(len(paths)):
            apply_override(mapping, f"data.sources.{number}.{word}")
    specs: list[dict[str, Any]] = mapping["data"]["sources"]
    return specs


def _records(
    inspector: Any, spec: dict[str, Any], source: dict[str, Any], args: argparse.Namespace
) -> list[dict[str, Any]]:
    from workbench.cli.asking import ask
    from workbench.errors import DataError

    count = args.records
    if not count or not source["records"]:
        return []
    try:
        if args.search:
            answer = ask(inspector, "search", source=spec, text=args.search, count=count)
        else:
            # Not more than were counted: behind them may stand what cannot be read.
            answer = ask(inspector, "records", source=spec, count=min(count, source["records"]))
    except DataError:
        return []  # it stands among the problems
    found: list[dict[str, Any]] = answer["records"]
    return found


def _error_of(source: dict[str, Any]) -> Exception:
    from workbench.errors import DataError

    if not source["problems"]:
        return DataError("the source holds no records", where=source["path"])
    problem = source["problems"][0]
    return DataError(problem["message"], where=problem["where"], hint=problem["hint"])


def text_of(source: dict[str, Any], searched: str | None = None) -> str:
    """A source in lines."""
    from workbench.cli import render
    from workbench.cli.render import literal

    lines = [render.style(literal(source["path"]), "bold")]
    kind = "none" if source["kind"] is None else f"{source['kind']}: {literal(source['why'])}"
    least = "" if source["complete"] else "at least "
    items = [("kind", kind), ("records", f"{least}{source['records']:,}")]
    if source["num_files"]:
        files = f"{source['num_files']:,} file{'s' * (source['num_files'] > 1)}"
        items.insert(1, ("files", f"{files}, {render.size(source['bytes'])}"))
    lines.append(render.pairs(items, "  "))
    if source["columns"]:
        rows = [
            [
                "",
                literal(column["name"]),
                ", ".join(f"{kind} ({count:,})" for kind, count in column["types"].items()),
                render.clip(literal(column["example"]), 60),
            ]
            for column in source["columns"]
        ]
        lines += ["", render.table(["", "column", "holds", "example"], rows)]
    if source["problems"]:
        lines += ["", f"  {render.style('problems', 'red')} ({source['num_problems']:,})"]
        lines += [_problem(problem) for problem in source["problems"]]
    for record in source["first"]:
        lines += ["", record_text(record)]
    if searched and not source["first"]:
        lines += ["", f"  no record contains “{literal(searched)}”"]
    return "\n".join(lines)


def _problem(problem: dict[str, str]) -> str:
    from workbench.cli.render import literal

    where = f"{literal(problem['where'])}: " if problem["where"] else ""
    hint = f" ({literal(problem['hint'])})" if problem["hint"] else ""
    return f"    {where}{literal(problem['message'])}{hint}"


def record_text(record: dict[str, Any]) -> str:
    """A record in lines, one a column."""
    import json

    from workbench.cli import render
    from workbench.cli.render import literal

    items = []
    for name, value in record["values"].items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        full = record["cut"].get(name, len(text))
        shown = literal(text[:SHOWN])
        if len(text) > SHOWN or full > len(text):
            shown += f"… ({full:,} characters)" if isinstance(value, str) else "…"
        items.append((literal(name), shown))
    head = render.style(f"  record {record['index']:,}  {literal(record['where'])}", "cyan")
    return f"{head}\n{render.pairs(items, '    ')}"
