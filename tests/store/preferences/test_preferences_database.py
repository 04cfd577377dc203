"""The file of preferences: whose it is, which version, and what is said where it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ranking_sessions import session_of

from workbench.errors import StorageError
from workbench.store.preferences import database as database_module
from workbench.store.preferences import schema
from workbench.store.preferences.annotator import Annotator
from workbench.store.preferences.database import Database, preferences_path
from workbench.store.preferences.filesystem import file_system_of, is_network
from workbench.store.preferences.sessions import find_session


def pragma(database: Database, name: str) -> object:
    return (database.row(f"PRAGMA {name}") or (None,))[0]


def test_the_file_is_its_owners_and_every_commit_waits_for_the_disk(home: Path) -> None:
    with Database() as database:
        assert database.path == preferences_path() == home / "preferences.db"
        assert pragma(database, "journal_mode") == "wal" and database.journal == "WAL"
        assert pragma(database, "synchronous") == 2 and pragma(database, "foreign_keys") == 1
        assert pragma(database, "busy_timeout") == 30_000 and database.notice == ""
        session_of(database, 1)
        files = list(home.glob("preferences.db*"))
        assert len(files) == 3
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    (home / "preferences.db").chmod(0o644)
    with Database():
        assert stat.S_IMODE((home / "preferences.db").stat().st_mode) == 0o600


def test_a_network_file_system_gets_a_rollback_journal_and_says_so(home: Path) -> None:
    with Database(file_system="ext4") as database:
        session_of(database, 1)
    with Database(file_system="nfs4") as database:
        assert pragma(database, "journal_mode") == "delete" and pragma(database, "synchronous") == 3
        assert "network file system (nfs4)" in database.notice and "\n" not in database.notice
        assert find_session(database, "tests").seed == 7


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    mounts = (
        "/dev/sda1 / ext4 rw 0 0\nhost:/export /home nfs4 rw 0 0\nshort\n"
        "tmpfs /home/me/my\\040runs tmpfs rw 0 0\nme@host: /mnt fuse.sshfs rw 0 0\n"
    )
    for path, kind in (
        ("/etc/x", "ext4"),
        ("/home/me/x", "nfs4"),
        ("/home/me/my runs/x", "tmpfs"),
        ("/mnt", "fuse.sshfs"),
        ("/mntx", "ext4"),
    ):
        assert file_system_of(Path(path), mounts) == kind
    assert file_system_of(Path("/"), "") == ""
    network = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs", "9p")
    assert all(map(is_network, network)) and not any(map(is_network, ("ext4", "xfs", "overlay", "tmpfs", "")))
    assert file_system_of(Path(__file__)) != "" or not Path("/proc/self/mounts").exists()


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()


def torn(path: Path) -> None:
    with Database(path) as database:
        session_of(database, 30)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (foreign, "of another program"),
        (newer, "a newer workbench"),
        (torn, "damaged"),
        (
            lambda path: path.write_text("no database at all, but more than a hundred bytes" * 9),
            "no database",
        ),
        (lambda path: path.mkdir(), "cannot be opened|directory"),
    ],
)
def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "preferences.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StorageError, match=said) as caught, Database(path) as database:
        database.check()
    assert caught.value.where == str(path) and "\n" not in caught.value.message
    assert before == (path.read_bytes() if path.is_file() else b"")


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        Database(tmp_path / "file" / "home" / "preferences.db")


def test_an_older_file_is_brought_up_to_date_and_keeps_what_it_has(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database() as database:
        session_of(database, 2)
    step = ("ALTER TABLE sessions ADD COLUMN archived INTEGER NOT NULL DEFAULT 0",)
    monkeypatch.setattr(database_module, "MIGRATIONS", (*schema.MIGRATIONS, step))
    monkeypatch.setattr(database_module, "VERSION", schema.VERSION + 1)
    for _ in range(2):
        with Database() as database:
            assert pragma(database, "user_version") == schema.VERSION + 1
            assert database.rows("SELECT name, archived FROM sessions") == [("tests", 0)]
    # A step that fails leaves the file as it was.
    broken = (*schema.MIGRATIONS, step, ("CREATE TABLE more (x)", "nonsense"))
    monkeypatch.setattr(database_module, "MIGRATIONS", broken)
    monkeypatch.setattr(database_module, "VERSION", schema.VERSION + 2)
    with pytest.raises(StorageError, match="syntax error"):
        Database()
    monkeypatch.setattr(database_module, "VERSION", schema.VERSION + 1)
    with Database() as database:
        assert database.rows("SELECT name FROM sqlite_master WHERE name = 'more'") == []


def test_a_full_disk_keeps_what_was_confirmed(home: Path) -> None:
    with Database() as database:
        session = session_of(database, 3)
        annotator = Annotator(database, session, "ann")
        task = annotator.next()
        assert task is not None
        annotator.commit(task, ranks=[1, 2, 3, 4])
        database.rows(f"PRAGMA max_page_count = {pragma(database, 'page_count')}")
        with pytest.raises(StorageError, match="the disk is full; what was confirmed is kept"):
            annotator.note(task, "much" * 5000)
        assert annotator.progress().done == 1
        database.rows("PRAGMA max_page_count = 100000")
        annotator.note(task, "much" * 5000)
    with Database() as database:
        database.check()
        again = Annotator(database, find_session(database, "tests"), "ann").back()
        assert again is not None and again.decision is not None and len(again.notes) == 1


def test_a_file_that_may_not_be_written_is_said(home: Path) -> None:
    with Database() as database:
        session = session_of(database, 1)
        database.rows("PRAGMA query_only = ON")
        annotator = Annotator(database, session, "ann")
        task = annotator.next()
        assert task is not None
        with pytest.raises(StorageError, match="may not be written"):
            annotator.commit(task, "skip")
        assert annotator.progress().done == 0


def test_another_writer_is_waited_for_and_then_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    with Database() as one, Database() as other:
        with one.transaction(), pytest.raises(StorageError, match="another process"):
            session_of(other, 1)
        session_of(other, 1)


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(8):
            databases = list(pool.map(Database, [tmp_path / f"{round_}.db"] * 8))
            for database in databases:
                assert database.journal == "WAL" and pragma(database, "user_version") == schema.VERSION
                database.close()
