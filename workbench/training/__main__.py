"""`python -m workbench.training RUN_DIR`: one process of a run's worker."""

import os
import sys
from pathlib import Path

from workbench.training.worker import main

if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    if code and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Libraries that have lost another process wait for it when they end, for seconds or minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
