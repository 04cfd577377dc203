"""What the interface imports, seen from fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys

HEAVY = ("torch", "transformers", "accelerate", "peft", "datasets")
LATE = ("numpy", "pydantic", "psutil", "pynvml", "yaml", "workbench.recipe", "workbench.tui.widgets.chart")

PROGRAM = """
import asyncio, sys
from workbench.tui.app import WorkbenchApp
at_import = set(sys.modules)

async def main():
    app = WorkbenchApp()
    async with app.run_test(size=(200, 60)) as pilot:
        for key in ("l", "m", "r", "g", "n", "enter", "escape", "escape", "question_mark", "escape"):
            await pilot.press(key)
            await pilot.pause(0.05)
        for _ in range(400):
            if "workbench.recipe" in sys.modules and "psutil" in sys.modules and "numpy" in sys.modules:
                break
            await pilot.pause(0.02)
    print(" ".join(sorted(at_import)))
    print(" ".join(sorted(sys.modules)))

asyncio.run(main())
"""


def test_the_interface_never_imports_a_deep_learning_library(make_run: object) -> None:
    make_run("one", steps=3)  # type: ignore[operator]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert result.returncode == 0, result.stderr
    at_import, at_end = (set(line.split()) for line in result.stdout.splitlines()[-2:])
    assert not at_end & set(HEAVY)
    # The first frame stands there before any of these is read from disk.
    assert not at_import & set(LATE)
    assert {"numpy", "pydantic", "workbench.recipe", "psutil"} <= at_end
