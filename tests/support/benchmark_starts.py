"""Start each benchmark with `--help`, all in this process: `python benchmark_starts.py FOLDER`.

Prints one JSON object: of each file how it ended, "0" where help was printed and nothing was measured.
"""

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path


def start(file: Path) -> str:
    sys.argv = [str(file), "--help"]
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_path(str(file), run_name="__main__")
    except SystemExit as end:
        return str(end.code)
    except BaseException as error:  # whatever it is, the test tells it
        return f"{type(error).__name__}: {error}"
    return f"went on, and printed {shown.getvalue()[:200]!r}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    files = [file for file in sorted(folder.glob("*.py")) if "\ndef main() -> None:" in file.read_text()]
    print(json.dumps({file.name: start(file) for file in files}))
