"""Removing a session with all that belongs to it: its generator, its answers, what was decided. No torch."""

from __future__ import annotations

from workbench.errors import UsageError
from workbench.prompting.ranking.control import stop_generating, wait_until_over
from workbench.prompting.ranking.status import remove_folder
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, delete_session

STOP_SECONDS = 20.0


def delete(database: Database, session: Session) -> None:
    """End the session's generator and remove the session; there is no way back.

    Raises `UsageError` where the generator, perhaps on another host, does not end, `StorageError`.
    """
    stop_generating(session)
    if wait_until_over(session, STOP_SECONDS).is_active:
        raise UsageError(
            f"the answers of “{session.name}” are still being generated",
            hint="end that where it runs: workbench rank generate NAME --stop",
        )
    delete_session(database, session)
    remove_folder(session.name)
