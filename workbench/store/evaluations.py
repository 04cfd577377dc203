"""Evaluations of prompts on disk, one folder each: what was asked, every transcript, what came of it.

evaluations/<name>/   settings.json   results.jsonl   failures.jsonl   summary.json
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import RunError, storage_error
from workbench.store.files import replace_file
from workbench.store.json_lines import LinesWriter, Taken
from workbench.store.process import ProcessIdentity
from workbench.store.transcripts import Transcripts

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SILENCE_SECONDS = 90.0
"""An evaluation on another host that has said nothing for so long is not running any more."""


@dataclass(frozen=True)
class Evaluation:
    """The folder of an evaluation, addressed; nothing is read before it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def settings_path(self) -> Path:
        return self.path / "settings.json"

    @property
    def results_path(self) -> Path:
        return self.path / "results.jsonl"

    @property
    def failures_path(self) -> Path:
        """Items that came to nothing, with the error, one line a try; they are tried again."""
        return self.path / "failures.jsonl"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    def settings(self) -> dict[str, Any]:
        """What is evaluated and how. Raises `RunError` where the file is damaged."""
        try:
            value = json.loads(self.settings_path.read_bytes())
            if isinstance(value, dict):
                return value
        except (OSError, ValueError):
            pass
        raise RunError("the settings of the evaluation cannot be read", where=str(self.settings_path))

    def summary(self) -> dict[str, Any]:
        """What came of it so far, with its `state`: running, finished, stopped, failed, or lost where the
        process behind a running one is gone. Empty before its first moment."""
        try:
            value = json.loads(self.summary_path.read_bytes())
            process = value.pop("process", None)
            if value.get("state") == "running":
                liveness = ProcessIdentity(**process).liveness()
                silent = time.time() - value["updated"] > SILENCE_SECONDS
                if liveness == "gone" or (liveness == "elsewhere" and silent):
                    value["state"] = "lost"
            return dict(value)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def transcripts(self) -> Transcripts:
        """Every transcript so far."""
        found = Transcripts(self.results_path)
        found.refresh()
        return found

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Put the settings down. Raises `StorageError`."""
        paths.ensure_dir(self.path)
        replace_file(self.settings_path, _json(settings), durable=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the summary; it says which process did. Raises `StorageError`."""
        about = {"updated": time.time(), "process": asdict(ProcessIdentity.current())}
        replace_file(self.summary_path, _json({**summary, **about}))

    def open_results(self) -> LinesWriter:
        """The results, to go on with. Raises `RunError` while another process is at it, `StorageError`."""
        try:
            return LinesWriter(self.results_path)
        except Taken:
            raise RunError(
                f"the evaluation “{self.name}” is running already",
                where=str(self.path),
                hint="wait for it, or give this one another --name",
            ) from None


def evaluations_dir() -> Path:
    """The folder that holds one folder an evaluation."""
    return paths.home() / "evaluations"


def list_evaluations() -> list[Evaluation]:
    """All evaluations, the one that was at work last first. Raises `StorageError`."""
    folder = evaluations_dir()
    try:
        found = [path for path in folder.iterdir() if (path / "settings.json").exists()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, folder) from None
    return [Evaluation(path) for path in sorted(found, key=_last_written, reverse=True)]


def _last_written(path: Path) -> tuple[float, str]:
    try:
        return (max(entry.stat().st_mtime for entry in path.glob("*.json*")), path.name)
    except (OSError, ValueError):
        return (0.0, path.name)


def find_evaluation(name: str) -> Evaluation:
    """An evaluation by name, or by the path of its folder. Raises `RunError`."""
    for path in (evaluations_dir() / name, Path(name).expanduser()):
        if (path / "settings.json").exists():
            return Evaluation(path.resolve())
    known = [evaluation.name for evaluation in list_evaluations()]
    near = difflib.get_close_matches(name, known, n=1)
    raise RunError(
        f"there is no evaluation called “{name}”",
        where=str(evaluations_dir()),
        hint=f"did you mean {near[0]}?" if near else "workbench evals list shows the evaluations",
    )


def evaluation_called(name: str) -> Evaluation:
    """The evaluation of a name, whether it is there yet or not. Raises `RunError` for what is no name."""
    if not NAME.fullmatch(name):
        raise RunError(
            f"“{name}” cannot be the name of an evaluation",
            hint="letters, digits, dots, dashes and underscores, the first a letter or digit",
        )
    return Evaluation(evaluations_dir() / name)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")
