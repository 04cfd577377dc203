"""`python -m workbench.prompting.ranking SESSION`: make the answers that are missing, then end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from workbench import paths
from workbench.errors import UsageError, WorkbenchError, storage_error
from workbench.prompting.ranking import status as files
from workbench.prompting.ranking.failures import Failures
from workbench.prompting.ranking.generator import Generator
from workbench.prompting.ranking.report import Report
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, counts, find_session

TICK_SECONDS = 0.5


def main(arguments: list[str]) -> int:
    """Generate for the session of a name. Returns the exit status; the status file says the same in words."""
    if len(arguments) != 1:
        print("python -m workbench.prompting.ranking SESSION", file=sys.stderr)
        return 2
    try:
        with Database() as database:
            session = find_session(database, arguments[0])
            with alone(session.name) as ours:
                if not ours:
                    print(f"another process generates for {session.name} already")
                    return 0
                return generate(database, session)
    except WorkbenchError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Whether this process is the only generator of a session, until the end; the system lets go of the lock
    however the process ends. Raises `StorageError`."""
    path = files.lock_path(name)
    try:
        paths.ensure_dir(path.parent)
        file = path.open("ab")
    except OSError as error:
        raise storage_error(error, path) from None
    with file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            # Some network file systems know no locks.
            yield True
            return
        yield True


def generate(database: Database, session: Session) -> int:
    """Make the answers that are missing, and say in the status file how that goes."""
    paths.ensure_dir(files.folder_of(session.name))
    with Failures(files.failures_path(session.name)) as failures:
        known = counts(database, session)
        total = known.prompts * session.settings.answers_per_prompt
        report = Report(session, known.answers, total, len(failures.keys))
        try:
            report.tick(now=True)
            generator = Generator(database, session, failures, report)
            asyncio.run(_until_stopped(generator, database, session, report))
        except (asyncio.CancelledError, KeyboardInterrupt):
            report.end("stopped", "stopped; what was made is kept")
            return 0
        except WorkbenchError as error:
            report.end("failed", error.message, error)
            return error.exit_code
        except Exception as error:
            traceback.print_exc()
            kind = f"unexpected {type(error).__name__}: {error}"
            where = str(files.log_path(session.name))
            report.end("failed", kind, WorkbenchError(kind, where=where, hint="its log has the traceback"))
            return 1
        finally:
            with contextlib.suppress(OSError):
                files.stop_path(session.name).unlink(missing_ok=True)
        report.end("finished", _summary(report, failures))
        return 0


async def _until_stopped(generator: Generator, database: Database, session: Session, report: Report) -> None:
    """Generate until all is there, or somebody asks for the end. Raises `CancelledError` then."""
    work = asyncio.ensure_future(generator.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    while not work.done():
        await asyncio.wait([work], timeout=TICK_SECONDS)
        if work.done():
            break
        if files.stop_path(session.name).exists() or not _is_there(database, session):
            work.cancel()
        try:
            report.tick()
        except WorkbenchError:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise
    await work


def _is_there(database: Database, session: Session) -> bool:
    """Whether the session has not been deleted."""
    found = database.row("SELECT created FROM sessions WHERE id = ?", (session.id,))
    return found is not None and found[0] == session.created


def _summary(report: Report, failures: Failures) -> str:
    status = report.status
    if not status.failures:
        return f"all {status.done:,} answers are there"
    return f"{status.done:,} answers are there, {status.failures:,} failed; the last: {failures.last}"


if __name__ == "__main__":
    os.umask(0o077)
    try:
        sys.exit(main(sys.argv[1:]))
    except UsageError as error:
        sys.exit(error.render())
