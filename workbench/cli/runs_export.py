"""`workbench runs export-metrics`: what a run logged, for other programs."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from workbench.cli import parser as grammar

FORMATS = ("csv", "jsonl", "parquet")
FIRST = ("step", "time")


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "export-metrics",
        run,
        help="write what a run logged as CSV, JSON lines or Parquet",
        description="Write what a run logged, without the steps that a resumed run went over again and "
        "those that a rollback undid.",
        example="workbench runs export-metrics nano-1 > nano-1.csv\n"
        "workbench runs export-metrics nano-1 --output nano-1.parquet",
    )
    parser.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    parser.add_argument("--format", choices=FORMATS, help="default: from the file's ending, else csv")
    parser.add_argument(
        "--overtaken",
        action="store_true",
        help="also what was gone over again or undone by a rollback, marked in a column of that name",
    )
    parser.add_argument("--output", "-o", metavar="FILE", help="default: standard output")


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs export-metrics`."""
    from workbench.cli import render
    from workbench.cli.series import records
    from workbench.errors import RunError, UsageError
    from workbench.store.files import replace_file
    from workbench.store.runs import find_run

    source = find_run(args.run)
    ending = Path(args.output).suffix[1:].lower() if args.output else ""
    form = args.format or (ending if ending in FORMATS else "csv")
    if form == "parquet" and not args.output and sys.stdout.isatty():
        raise UsageError("Parquet is not for the terminal", hint="add --output FILE.parquet")
    rows = records(source.metrics_path, overtaken=args.overtaken)
    if not rows:
        raise RunError(f"“{source.name}” has logged nothing yet", where=str(source.metrics_path))
    content = {"csv": as_csv, "jsonl": as_jsonl, "parquet": as_parquet}[form](rows)
    if args.output:
        path = Path(args.output)
        if path.exists() and not path.is_file():
            raise UsageError(f"“{args.output}” is not a file", hint="leave --output out for standard output")
        replace_file(path, content)
        render.talk(f"{len(rows):,} records in {args.output}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    return 0


def columns_of(rows: list[dict[str, Any]]) -> list[str]:
    """All keys: step and time, then the metrics in the order they first occurred."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [*(name for name in FIRST if name in names), *(name for name in names if name not in FIRST)]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """CSV with a header; what a record lacks is empty, what was not finite is `nan`."""
    import csv

    names = columns_of(rows)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["nan" if name in row and row[name] is None else row.get(name, "") for name in names])
    return buffer.getvalue().encode()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    """One record a line, as it was logged."""
    import orjson

    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    """One column a metric; NaN is what was not finite, null is what a record lacks."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    names = columns_of(rows)
    columns = {
        name: [float("nan") if name in row and row[name] is None else row.get(name) for row in rows]
        for name in names
    }
    # A metric that is whole in some records (a loss of 0) is still a float column.
    arrays = {
        name: arrow.array(
            values if all(isinstance(v, (int, type(None))) for v in values) else map(_as_float, values)
        )
        for name, values in columns.items()
    }
    sink = io.BytesIO()
    parquet.write_table(arrow.table(arrays), sink)
    return sink.getvalue()


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value
