"""Facts from another Python process, so that what it must import is not imported here."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def probe(executable: str, script: str, seconds: float) -> tuple[dict[str, Any] | None, str]:
    """The JSON object that a script prints as its last line, or None and why there is none."""
    try:
        done = subprocess.run(
            [executable, "-c", script],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, f"it took longer than {seconds:.0f} s"
    except OSError as error:
        return None, f"{executable}: {error.strerror}"
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        complaint = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        return None, complaint[-1]
    facts: dict[str, Any] = json.loads(lines[-1])
    return facts, ""
