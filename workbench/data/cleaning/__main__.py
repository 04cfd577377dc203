"""`python -m workbench.data.cleaning DIR`: the process of a cleaning."""

import fcntl
import sys
from pathlib import Path

from workbench.data.cleaning.extras import needed
from workbench.errors import MissingExtraError, RunError
from workbench.store.cleaning import Cleaning
from workbench.store.process import ProcessIdentity

if __name__ == "__main__":
    cleaning = Cleaning(Path(sys.argv[1]).resolve())
    try:
        with cleaning.lock_path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Its status is that of the one at work. Who comes at the same moment is told by `main`.
        print(RunError(f"“{cleaning.name}” is running already", where=str(cleaning.path)).render())
        raise SystemExit(1) from None
    except OSError:
        pass  # `main` says what is wrong, or goes on where there are no locks
    # Whoever watches is to know this process before it has read its libraries, which takes a second.
    status = cleaning.status()
    status.process = ProcessIdentity.current()
    status.write(cleaning.status_path)

    try:
        with needed("datatrove"):
            from workbench.data.cleaning.driver import main
    except MissingExtraError as error:
        print(error.render())
        status.state, status.message, status.error = "failed", error.message, error.as_dict()
        status.write(cleaning.status_path)
        raise SystemExit(1) from None

    raise SystemExit(main(cleaning.path))
