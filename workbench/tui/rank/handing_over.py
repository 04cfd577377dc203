"""What was ranked, in a file: for other programs, or for a run that trains on it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import paths
from workbench.errors import DataError, UsageError
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.records import line_of, write_records
from workbench.store.preferences.judgements import UNKNOWN, Decided, decided
from workbench.store.preferences.sessions import find_session

if TYPE_CHECKING:
    from workbench.store.preferences.exchange.exporting import Format

FORMATS = (
    ("rankings", "rankings", "everything that is known; comes back by import"),
    ("pairs", "pairs", "prompt, chosen, rejected: what TRL trains on"),
    ("argilla", "Argilla", "records of a ranking question"),
    ("arena", "Arena", "battles of two models"),
)
PRESETS = (
    ("reward", "reward model", "learns a score from the rankings; for PPO, best-of-n, sorting answers"),
    ("dpo", "DPO", "trains a model on the rankings directly, with no reward model"),
)
"""Presets that train on rankings: their names, what they are called, what they do."""


def export_session(database: Database, name: str, format: Format, path: Path) -> str:
    """Write what was decided in a session, and say how many records that is, and what is not among them.

    Raises `DataError` where nothing was, `StorageError`.
    """
    from workbench.store.preferences.exchange.exporting import export

    session = find_session(database, name)
    found = decided(database, session)
    if not found:
        raise DataError(f"nothing was ranked in “{name}” yet", hint="enter opens it")
    made = export(found, session, format)
    paths.ensure_dir(path.parent)
    count = write_records(path, made.records)
    return f"{count:,} records in {path}" + (f"; {made.left_out}" if made.left_out else "")


def training_file(database: Database, name: str) -> Path:
    """Write the rankings of a session for a run, under the workbench's home, and say where.

    Hidden repetitions are left out: they would count an opinion twice. Raises `DataError` where nothing is
    preferred to anything, `StorageError`.
    """
    from workbench.store.preferences.exchange.rankings import export_rankings

    session = find_session(database, name)
    found = [one for one in decided(database, session) if one.action and _is_first(one)]
    if not any(one.action and len(set(one.action.ranks)) > 1 for one in found):
        why = "all answers are tied" if found else "nothing was ranked yet"
        raise DataError(f"there is nothing to train on in “{name}”: {why}", hint="rank some answers first")
    records = list(export_rankings(found, session))
    # What a run was started on stays as it was, for the run may be resumed: other rankings, another file.
    digest = hashlib.sha256(b"".join(map(line_of, records))).hexdigest()[:8]
    path = paths.home() / "rankings" / f"{session.name}-{digest}.jsonl"
    paths.ensure_dir(path.parent)
    write_records(path, records)
    return path


def _is_first(one: Decided) -> bool:
    return one.action is not None and (one.action.occasion == 0 or one.action.annotator == UNKNOWN)


def check_preset(preset: str, path: Path) -> None:
    """See that there is a preset to train with. Raises `UsageError` saying what can be done without."""
    from workbench.recipe import list_presets

    if preset not in {one.name for one in list_presets("runs")}:
        raise UsageError(
            f"there is no preset “{preset}” to train with",
            where=str(paths.user_presets_dir()),
            hint=f"the rankings are in {path}: name them in data.sources of a recipe of yours",
        )
