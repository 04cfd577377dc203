"""Answers of models to prompts of the small path, and the judge's rankings of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.cli import render
from workbench.cli.alignment.folder import signature_of
from workbench.cli.alignment.judge import Judge
from workbench.errors import RunError
from workbench.prompting.ranking.control import ensure_generating, generation_status, stop_generating
from workbench.prompting.ranking.create import Plan, create
from workbench.prompting.ranking.prompts import read_prompts
from workbench.prompting.ranking.sources import ModelSource, of_settings
from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database
from workbench.store.preferences.exchange.rankings import export_rankings
from workbench.store.preferences.exchange.records import write_records
from workbench.store.preferences.judgements import decided
from workbench.store.preferences.sessions import Session, list_sessions

NAME = "rule"
"""The annotator's name under which the judge's rankings are kept."""
SAMPLING = {"temperature": 1.0, "max_tokens": 32}
POLL_SECONDS = 0.5
CRITERIA = "A sentence of 4 to 16 real words that ends, does not repeat itself, and speaks of the function."


def session_of(database: Database, name: str, prompts: Path, models: Sequence[Path], samples: int) -> Session:
    """The session of a name, made unless it is there already."""
    for session in list_sessions(database):
        if session.name == name:
            return session
    sources = [ModelSource("local", str(model)) for model in models]
    # The judge always agrees with itself, and rests at nothing: no hidden repeats.
    plan = Plan(
        name, sources, (SAMPLING,), samples=samples, criteria=CRITERIA, repeated=0.0, seed=len(prompts.name)
    )
    return create(database, plan, read_prompts(prompts).prompts)


def answer_all(session: Session) -> None:
    """Have all answers of a session generated; engines that were started for it end with it. Raises
    `RunError` with the generator's reason."""
    from workbench.inference import launch

    ours = {source.model for source in of_settings(session.settings.extra, session.settings.models).values()}
    before = {engine.name for engine in launch.running()}
    try:
        _wait_for_answers(session)
    finally:
        for engine in launch.running():
            if engine.model in ours and engine.name not in before:
                launch.stop(engine.name)


def _wait_for_answers(session: Session) -> None:
    ensure_generating(session, again=generation_status(session).state in ("failed", "stopped", "lost"))
    told = -1
    try:
        while (status := generation_status(session)).is_active:
            if status.total and 10 * status.done // status.total > told:
                told = 10 * status.done // status.total
                render.talk(f"  {status.done:,} of {status.total:,} answers")
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        stop_generating(session)
        raise
    if status.state != "finished":
        error: Mapping[str, str] = status.error or {}
        raise RunError(
            status.message or "the answers were not generated",
            where=error.get("where") or f"session {session.name}",
            hint=error.get("hint") or f"try again: workbench rank generate {session.name}",
        )


def judge_all(database: Database, session: Session, judge: Judge) -> int:
    """Have the rule rank all that is not ranked yet; how many sets of answers it ranked."""
    annotator, count = Annotator(database, session, NAME), 0
    while (task := annotator.next()) is not None and task.decision is None:
        answers = [str(answer.content) for answer in task.answers]
        annotator.commit(task, ranks=judge.ranks(signature_of(str(task.prompt.content)), answers))
        count += 1
    return count


def export(database: Database, session: Session, path: Path) -> int:
    """Write the rankings to a file; how many."""
    return write_records(path, export_rankings(decided(database, session), session))


def fared(database: Database, session: Session, judge: Judge, against: str) -> list[dict[str, Any]]:
    """How each model of a session fared: the mean `quality` of its answers by the judge, and `wins`,
    `ties` and `losses` and the `share` of wins against the one named `against`, prompt by prompt."""
    found: dict[str, dict[str, Any]] = {}
    for one in decided(database, session):
        signature = signature_of(str(one.prompt.content))
        scores = {
            answer.model: round(judge.quality(signature, str(answer.content)), 3)
            for answer in one.answers.values()
            if answer.model
        }
        for model, score in scores.items():
            row = found.setdefault(
                model, {"model": model, "quality": 0.0, "prompts": 0, "wins": 0, "ties": 0, "losses": 0}
            )
            row["quality"] += score
            row["prompts"] += 1
            if model != against and against in scores:
                outcome = (score > scores[against]) - (score < scores[against])
                row[("ties", "wins", "losses")[outcome]] += 1
    for row in found.values():
        row["quality"] = round(row["quality"] / row["prompts"], 3)
        # A tie is half a win, as everywhere.
        compared = row["wins"] + row["ties"] + row["losses"]
        row["share"] = (row["wins"] + row["ties"] / 2) / compared if compared else None
    return sorted(found.values(), key=lambda row: -row["quality"])
