"""`preferences.db`: one connection to it, transactions that the disk has when they end, errors in words."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench import paths
from workbench.errors import StorageError, storage_error
from workbench.store.preferences.filesystem import file_system_of, is_network
from workbench.store.preferences.schema import APPLICATION_ID, MIGRATIONS, VERSION

BUSY_SECONDS = 30.0
"""How long one waits for another process's transaction; the longest, an import, takes seconds."""


def preferences_path() -> Path:
    """Where the rankings of this user are."""
    return paths.home() / "preferences.db"


class Database:
    """A connection to the preferences; it may be used from any thread, one at a time.

    Opening creates the file, its owner's alone, and brings an older one up to date. `notice` is a sentence
    for the person where the file system asks for another journal than the write-ahead log. Raises
    `StorageError` where the file cannot be used: what it holds is never overwritten.
    """

    def __init__(self, path: Path | None = None, *, file_system: str | None = None) -> None:
        self.path = preferences_path() if path is None else path
        self.notice = ""
        self._lock = threading.RLock()
        _create(self.path)
        kind = file_system_of(self.path) if file_system is None else file_system
        with self._explained():
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._check_owner()
                self._set_journal(kind)
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._migrate()
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within is on disk when this ends, or nothing of it. Raises `StorageError`.

        The right to write is taken at the beginning, so that what is read within stays true.
        """
        with self._lock, self._explained():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk makes SQLite roll back on its own.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read within is of one moment. Raises `StorageError`."""
        with self._lock, self._explained():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises `StorageError`."""
        with self._lock, self._explained():
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, None where there is none. Raises `StorageError`."""
        found = self.rows(query, values)
        return found[0] if found else None

    def insert(self, query: str, values: Sequence[Any]) -> int:
        """Write one row within a transaction, and say its number. Raises `StorageError`."""
        with self._lock, self._explained():
            if not self._connection.in_transaction:
                raise AssertionError("written outside of a transaction")
            return int(self._connection.execute(query, values).lastrowid or 0)

    def check(self) -> None:
        """Read the whole file and raise `StorageError` where it is damaged; 100 MB take about a second."""
        found = self.rows("PRAGMA integrity_check(1)")
        if found != [("ok",)]:
            raise _damaged(self.path, str(found[0][0]) if found else "")

    def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_owner(self) -> None:
        """Refuse a database of another program, or of a later version of this one."""
        # Of one moment: another process may be making the tables.
        self._connection.execute("BEGIN")
        try:
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (mark,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        finally:
            self._connection.execute("ROLLBACK")
        if mark != APPLICATION_ID and (mark or version or tables):
            raise StorageError(
                "this is a database of another program",
                where=str(self.path),
                hint="move it away, or choose another folder with WORKBENCH_HOME",
            )
        if version > VERSION:
            raise StorageError(
                f"a newer workbench wrote the rankings: their version is {version}, this one knows {VERSION}",
                where=str(self.path),
                hint="install that version again, or choose another folder with WORKBENCH_HOME",
            )

    def _set_journal(self, kind: str) -> None:
        wanted = "DELETE" if is_network(kind) else "WAL"
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                (journal,) = self._connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
                break
            except sqlite3.OperationalError as error:
                # Changing the journal asks for the file alone, and SQLite does not always wait for that.
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.journal = str(journal).upper()
        # With a rollback journal, EXTRA also waits until the disk knows that the journal is gone.
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if self.journal == 'WAL' else 'EXTRA'}")
        if wanted == "DELETE":
            self.notice = (
                f"{self.path} lies on a network file system ({kind}): rankings are kept with a rollback "
                "journal, which is slower; let one host write at a time"
            )
        elif self.journal != "WAL":
            self.notice = (
                f"the file system of {self.path} allows no write-ahead log: rankings are kept with the "
                f"journal {self.journal}, which is slower"
            )

    def _migrate(self) -> None:
        if self._connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            for step in MIGRATIONS[version:]:
                for statement in step:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {max(version, VERSION)}")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _in_words(error, self.path) from None


def _create(path: Path) -> None:
    """An empty file that only its owner may read, or the one that is there, closed to others.

    SQLite gives its journals the permissions of the file.
    """
    paths.ensure_dir(path.parent)
    try:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            about = path.stat()
            if about.st_mode & 0o077 and about.st_uid == os.geteuid():
                path.chmod(0o600)
    except OSError as error:
        raise storage_error(error, path) from None


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: sqlite3.Error) -> int:
    """The primary code of an error, its lowest byte; 0 where the error is the module's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _in_words(error: sqlite3.Error, path: Path) -> StorageError:
    """What SQLite met, as one sentence."""
    code = _code(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    elsewhere = "choose another folder with WORKBENCH_HOME"
    reasons = {
        sqlite3.SQLITE_FULL: (
            "the disk is full; what was confirmed is kept, this last step is not",
            f"free some space and try again, or {elsewhere}",
        ),
        sqlite3.SQLITE_READONLY: (
            "the rankings may not be written here",
            f"ask for write permission, or {elsewhere}",
        ),
        sqlite3.SQLITE_PERM: ("permission denied", f"ask for permission, or {elsewhere}"),
        sqlite3.SQLITE_CANTOPEN: (
            "the rankings cannot be opened",
            f"see who owns the folder, or {elsewhere}",
        ),
        sqlite3.SQLITE_IOERR: (
            f"the disk failed while the rankings were read or written ({error}); this last step is not kept",
            f"see whether the disk is full or failing, or {elsewhere}",
        ),
        sqlite3.SQLITE_BUSY: (
            f"another process has been writing the rankings for more than {BUSY_SECONDS:.0f} seconds",
            "wait for its import to end, then try again",
        ),
    }
    reasons[sqlite3.SQLITE_LOCKED] = reasons[sqlite3.SQLITE_BUSY]
    message, hint = reasons.get(code, (str(error), ""))
    return StorageError(message, where=str(path), hint=hint)


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f"the rankings are damaged or no database at all ({' '.join(why.split())})",
        where=str(path),
        hint=f"move it away and start afresh; “sqlite3 {path.name} .recover” saves what can be read",
    )
