"""`python -m workbench.data.cleaning DIR`: the process of a cleaning."""

import sys
from pathlib import Path

from workbench.data.cleaning.driver import main

if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
