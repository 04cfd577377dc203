"""The sessions as rows: how much there is of each, and who ranked how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.store.preferences.database import Database
from workbench.store.preferences.log import JUDGEMENTS, holding, read_actions
from workbench.store.preferences.sessions import Session, counts, list_sessions


@dataclass(frozen=True)
class SessionRow:
    """One session. `ready` of `prompts` have answers to be ranked, `ranked` holds how many each annotator
    ranked, `flagged` how many items anybody flagged; `state` says of missing answers whether they come."""

    session: Session
    prompts: int
    answers: int
    ready: int
    ranked: Mapping[str, int]
    flagged: int
    state: str

    @property
    def name(self) -> str:
        """The name of the session."""
        return self.session.name

    @property
    def source(self) -> str:
        """Where its answers come from."""
        models = self.session.settings.models
        if models:
            return ", ".join(model.rstrip("/").rpartition("/")[2] or model for model in models)
        return str(self.session.settings.extra.get("imported_from") or "a file")

    @property
    def people(self) -> str:
        """Who ranked how much, those who did most first."""
        most = sorted(self.ranked.items(), key=lambda entry: (-entry[1], entry[0]))
        return ", ".join(f"{name} {count:,}" for name, count in most)


class SessionReader:
    """Reads the rows; a session in which nothing was done since is not read through again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], tuple[int, dict[str, int], int]] = {}

    def read(self, database: Database) -> list[SessionRow]:
        """All sessions, the newest first. Raises `StorageError`."""
        return [self._row(database, session) for session in list_sessions(database)]

    def _row(self, database: Database, session: Session) -> SessionRow:
        there = counts(database, session)
        key = (session.id, session.created)
        newest = (database.row("SELECT max(id) FROM actions WHERE session = ?", (session.id,)) or (0,))[0]
        known = self._known.get(key)
        if known is None or known[0] != (newest or 0):
            known = self._known[key] = (newest or 0, *_done(database, session))
        _, ranked, flagged = known
        state = generation_words(session, there.answers, there.prompts)
        return SessionRow(session, there.prompts, there.answers, there.items, ranked, flagged, state)


def _done(database: Database, session: Session) -> tuple[dict[str, int], int]:
    ranked: dict[str, set[int]] = {}
    flags: dict[tuple[str, int], bool] = {}
    for action in holding(read_actions(database, session.id)):
        if action.item is None:
            continue
        if action.kind in JUDGEMENTS:
            ranked.setdefault(action.annotator, set()).add(action.item)
        elif action.kind == "flag":
            flags[(action.annotator, action.item)] = bool(action.value.get("on", True))
    flagged = {item for (_, item), on in flags.items() if on}
    return {name: len(items) for name, items in ranked.items()}, len(flagged)


def generation_words(session: Session, answers: int, prompts: int) -> str:
    """Whether the answers of a session are all there, or come: `from a file`, `complete`, `running 62%`."""
    expected = prompts * session.settings.answers_per_prompt
    if not expected:
        return "from a file" if not session.settings.models else "no prompts"
    if answers >= expected:
        return "complete"
    from workbench.prompting.ranking.control import generation_status

    state = generation_status(session).state
    return f"{'waits' if state == 'idle' else state} {answers / expected:.0%}"
