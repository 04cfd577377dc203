"""The database of rankings as commands open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.store.preferences.database import Database


@contextmanager
def opened() -> Iterator[Database]:
    """The database; what it has to say of its file system is said. Raises `StorageError`."""
    from workbench.cli import render
    from workbench.store.preferences.database import Database

    with Database() as database:
        if database.notice:
            render.talk(database.notice)
        yield database
