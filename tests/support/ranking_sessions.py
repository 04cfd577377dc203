"""Sessions of ranking as tests want them: any number of items, each of answers by some models."""

from __future__ import annotations

from workbench.store.preferences.contents import Answer, Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, Settings, add_item, create_session


def session_of(
    database: Database,
    items: int,
    models: tuple[str, ...] = ("a", "b", "c", "d"),
    *,
    name: str = "tests",
    repeated: float = 0.0,
) -> Session:
    """A session of a fixed seed in which every model answered every prompt."""
    session = create_session(database, name, Settings(repeated=repeated), seed=7)
    with database.transaction():
        for number in range(items):
            answers = [Answer(f"answer {number} of {model}", model) for model in models]
            add_item(database, session, Prompt(f"prompt {number}"), answers)
    return session
