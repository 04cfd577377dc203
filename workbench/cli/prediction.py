"""The process that predicts and evaluates, seen from the command that started it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from pathlib import Path

LAST_WORDS = 5
BATCH_SIZE = 32


class ChildError(WorkbenchError):
    """An error of the process, told here as it would have told it."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content["message"], where=content["where"], hint=content["hint"])
        self.title, self.exit_code = content["title"], content["exit_code"]


def add_device_options(parser: grammar.Parser) -> None:
    """On what, and how many records at once."""
    parser.add_argument("--batch-size", metavar="N", type=positive, help="records in a batch")
    add_device_choice(parser)


def add_device_choice(parser: grammar.Parser) -> None:
    """On what."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: a GPU if there is"
    )


def add_reading_options(parser: grammar.Parser) -> None:
    """How the records of a file are read, and how much of each."""
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="names of the columns of a file without a header line (text,label), "
        "or other names for columns (text=review,label=stars)",
    )
    parser.add_argument("--max-length", metavar="N", type=positive, help="tokens of a record that are read")


def columns_of(text: str | None) -> list[str] | dict[str, str] | None:
    """`a,b` as a list of names, `text=a,label=b` as other names for columns."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if all("=" in part for part in parts):
        return {name.strip(): column.strip() for name, _, column in (part.partition("=") for part in parts)}
    if any("=" in part for part in parts):
        from workbench.errors import UsageError

        raise UsageError(
            f"--columns {text} is half a list of names, half a mapping",
            hint="write text,label or text=review,label=stars",
        )
    return parts


def model_folder(model: str) -> tuple[str, Path | None]:
    """The model folder or hub name that a word means, and the run's folder where it names a run.

    A run's name, or the path of its folder, means its final model.
    """
    from pathlib import Path

    from workbench.errors import RunError
    from workbench.store.runs import find_run

    path = Path(model).expanduser()
    if (path / "config.json").exists() or (path / "adapter_config.json").exists():
        return str(path), None
    try:
        run = find_run(model)
    except RunError:
        if "/" in model or path.exists():
            return model, None
        raise
    if not run.final_path.is_dir():
        raise RunError(
            "the run has no final model yet",
            where=str(run.path),
            hint=f"a checkpoint will do: {run.checkpoints()[-1]}"
            if run.checkpoints()
            else f"workbench runs follow {run.name}",
        )
    return str(run.final_path), run.path


def ask(
    request: dict[str, Any], *, debug: bool = False, told: Callable[[str], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Start the process with a request; yields its events. Raises the error that it ended with.

    Progress and notes are told on standard error, not yielded; progress also to `told`, in words.
    """
    command = [sys.executable, "-m", "workbench.prediction"]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None if debug else complaints
        )
        assert process.stdin is not None and process.stdout is not None
        line = ProgressLine()
        try:
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            for text in process.stdout:
                event = json.loads(text)
                kind = event.pop("event")
                if kind == "progress":
                    line.show(event)
                    if told is not None:
                        told(_progress_words(event))
                elif kind == "note":
                    line.clear()
                    _talk(event["text"])
                elif kind == "error":
                    raise ChildError(event)
                else:
                    yield event
            if process.wait() != 0:
                raise _died(process.returncode, complaints)
        finally:
            line.clear()
            process.terminate()
            process.wait()
            process.stdout.close()


def _died(code: int, complaints: Any) -> WorkbenchError:
    complaints.seek(0)
    words = complaints.read().decode(errors="replace").strip().splitlines()[-LAST_WORDS:]
    reason = f"signal {-code}" if code < 0 else f"code {code}"
    hint = "was there enough memory? A smaller --batch-size needs less" if code == -9 else ""
    return WorkbenchError(f"the process ended with {reason}", where=" ".join(words), hint=hint)


def _progress_words(event: dict[str, Any]) -> str:
    done, total = event["done"], event["total"]
    return f"{event['what']}: {done:,}" + (f" of {total:,}" if total else "")


def _talk(text: str) -> None:
    from workbench.cli import render

    render.talk(render.literal(text))


class ProgressLine:
    """One line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self) -> None:
        from workbench.cli import render

        self.live = render.is_terminal(sys.stderr)
        self.began = time.monotonic()
        self.shown = False

    def show(self, event: dict[str, Any]) -> None:
        """Overwrite the line."""
        if not self.live:
            return
        from workbench.cli import render

        seconds = time.monotonic() - self.began
        text = f"{_progress_words(event)}, {seconds:.0f} s"
        text = render.clip(render.literal(text), render.columns() - 1)
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        self.shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = False
