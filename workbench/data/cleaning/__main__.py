"""`python -m workbench.data.cleaning DIR`: the process of a cleaning."""

import sys
from pathlib import Path

from workbench.data.cleaning.extras import needed
from workbench.errors import MissingExtraError
from workbench.store.cleaning import Cleaning
from workbench.store.process import ProcessIdentity

if __name__ == "__main__":
    cleaning = Cleaning(Path(sys.argv[1]).resolve())
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
