"""`workbench collections …`: folders of documents that answers can be taken from."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive

if TYPE_CHECKING:
    from workbench.prompting.retrieval.report import IngestReport

EXAMPLE = """workbench collections ingest handbook docs/ --embedder all-MiniLM-L6-v2
workbench collections search handbook 'how are expenses paid'
workbench ask --technique '{rag: {collection: handbook}}' 'How are expenses paid?'"""
SHOWN_SKIPPED = 10
TEXT_WIDTH = 240


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(
        commands, "collections", help="make documents searchable for retrieval", example=EXAMPLE
    )
    parser = grammar.add_command(
        group,
        "ingest",
        run_ingest,
        help="read files into a collection, or bring it up to date",
        description="Read text, Markdown, source code, HTML and PDF files into a collection. Files that did\n"
        "not change since the last time are not read again; files that are gone are taken out.",
        example="workbench collections ingest handbook docs/ --embedder all-MiniLM-L6-v2\n"
        "workbench collections ingest handbook            bring it up to date",
    )
    parser.add_argument("name", metavar="NAME", help="of the collection")
    parser.add_argument(
        "sources", metavar="FOLDER | FILE", nargs="*", help="those of the last time if not given"
    )
    parser.add_argument("--exclude", metavar="PATTERN", action="append", help="leave out: '*.log', 'build/*'")
    parser.add_argument("--passage", type=positive, metavar="N", help="characters of a passage (1,200)")
    parser.add_argument(
        "--qdrant", metavar="URL", help="keep vectors on a Qdrant server (key: QDRANT_API_KEY)"
    )
    _add_embedder(parser)
    grammar.add_json(parser)
    parser = grammar.add_command(
        group, "list", run_list, help="list the collections there are", example="workbench collections list"
    )
    grammar.add_json(parser)
    parser = grammar.add_command(
        group,
        "search",
        run_search,
        help="the passages that fit a query best, with their scores",
        example="workbench collections search handbook 'how are expenses paid' -k 3",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("query", metavar="QUERY")
    parser.add_argument("-k", type=positive, default=5, metavar="N", help="passages (%(default)s)")
    _add_embedder(parser)
    grammar.add_json(parser)
    parser = grammar.add_command(
        group, "rm", run_remove, help="remove collections", example="workbench collections rm handbook"
    )
    parser.add_argument("names", metavar="NAME", nargs="+")


def _add_embedder(parser: grammar.Parser) -> None:
    parser.add_argument(
        "--embedder", metavar="MODEL", help="the model that embeds; without one only words are searched"
    )
    parser.add_argument(
        "--key-env", metavar="NAME", help="the variable with the key of a server given by URL"
    )


async def _embedder(stack: AsyncExitStack, args: argparse.Namespace) -> Any:
    """The model that embeds, or None."""
    from workbench.cli import models_of

    if args.embedder is None:
        return None
    return await stack.enter_async_context(models_of.opened(models_of.find(args.embedder, args.key_env)))


def run_ingest(args: argparse.Namespace) -> int:
    """Handle `workbench collections ingest`."""
    from workbench.cli import render
    from workbench.cli.prediction import ProgressLine

    line = ProgressLine()

    def progress(what: str, done: int, total: int) -> None:
        line.show({"what": what, "done": done, "total": total})

    try:
        report = asyncio.run(_ingest(args, progress))
    finally:
        line.clear()
    print(render.as_json(asdict(report)) if args.json else _report_text(report))
    return 0


async def _ingest(args: argparse.Namespace, progress: Any) -> IngestReport:
    from workbench.prompting.retrieval import folders
    from workbench.prompting.retrieval.chunking import Chunking
    from workbench.prompting.retrieval.ingest import ingest
    from workbench.prompting.retrieval.record import Options

    options = None
    if args.exclude or args.passage or args.qdrant:
        known = folders.describe(args.name).options if args.name in folders.collection_names() else Options()
        chunking = known.chunking
        if args.passage:
            chunking = Chunking(args.passage, min(known.chunking.overlap, args.passage // 4), "characters")
        options = replace(
            known,
            chunking=chunking,
            exclude=tuple(args.exclude or known.exclude),
            qdrant_url=args.qdrant or known.qdrant_url,
        )
    sources = [Path(source).expanduser().resolve() for source in args.sources] or None
    async with AsyncExitStack() as stack:
        embedder = await _embedder(stack, args)
        return await ingest(sources, args.name, embedder, options=options, progress=progress)


def _report_text(report: IngestReport) -> str:
    from workbench.cli import render

    held = f"{report.documents:,} documents, {report.chunks:,} passages"
    lines = [
        f"“{report.name}”: {held}, {report.seconds:.1f} s",
        f"{report.added:,} added, {report.changed:,} changed, {report.unchanged:,} unchanged, "
        f"{report.removed:,} removed, {len(report.skipped):,} left out",
        f"{report.embedded:,} passages embedded by {report.embedder}"
        if report.embedder
        else "searched by words alone: no embedder",
    ]
    lines += [f"left out: {skipped.path}: {skipped.reason}" for skipped in report.skipped[:SHOWN_SKIPPED]]
    if len(report.skipped) > SHOWN_SKIPPED:
        lines.append(f"and {len(report.skipped) - SHOWN_SKIPPED:,} more; --json lists them all")
    lines += [f"{path}: {what}" for path, what in report.notes[:SHOWN_SKIPPED]]
    return "\n".join(render.literal(line) for line in lines)


def run_list(args: argparse.Namespace) -> int:
    """Handle `workbench collections list`."""
    from workbench.cli import render
    from workbench.errors import WorkbenchError
    from workbench.prompting.retrieval.folders import list_collections

    listed = list_collections()
    if args.json:
        told = {
            name: {"error": entry.as_dict()} if isinstance(entry, WorkbenchError) else asdict(entry)
            for name, entry in listed.items()
        }
        print(render.as_json(told))
        return 0
    if not listed:
        render.talk("no collections yet: workbench collections ingest NAME FOLDER")
        return 0
    rows = []
    for name, entry in listed.items():
        if isinstance(entry, WorkbenchError):
            rows.append([name, "", "", entry.message, ""])
        else:
            sources = ", ".join(entry.sources)
            rows.append(
                [name, f"{entry.documents:,}", f"{entry.chunks:,}", entry.embedder or "words", sources]
            )
    safe = [[render.literal(cell) for cell in row] for row in rows]
    print(render.table(("name", "documents", "passages", "searched by", "from"), safe, right=(1, 2)))
    return 0


def run_search(args: argparse.Namespace) -> int:
    """Handle `workbench collections search`."""
    from workbench.cli import render

    passages, alone = asyncio.run(_search(args))
    if args.json:
        print(render.as_json([passage.as_json() for passage in passages]))
        return 0
    if alone:
        render.talk(alone)
    for number, passage in enumerate(passages, 1):
        print(render.literal(f"[{number}] {passage.source}  {passage.score:.4f}"))
        text = " ".join(passage.text.split())
        print(render.literal(f"    {text[:TEXT_WIDTH]}{'…' if len(text) > TEXT_WIDTH else ''}"))
    if not passages:
        render.talk("nothing fits")
    return 0


async def _search(args: argparse.Namespace) -> Any:
    from workbench.prompting.retrieval.collection import open_collection

    async with AsyncExitStack() as stack:
        collection = open_collection(args.name, await _embedder(stack, args))
        stack.callback(collection.close)
        return await collection.search(args.query, args.k), collection.without_dense


def run_remove(args: argparse.Namespace) -> int:
    """Handle `workbench collections rm`."""
    from workbench.cli import render
    from workbench.prompting.retrieval.folders import remove_collection

    for name in args.names:
        remove_collection(name)
        render.talk(f"“{name}” is removed")
    return 0
