"""`python -m workbench.training RUN_DIR`: one process of a run's worker."""

import sys
from pathlib import Path

from workbench.training.worker import main

if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
