"""Starting and stopping the process of a cleaning, from one that has no torch and no datatrove."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.errors import MissingExtraError, RunError, WorkbenchError
from workbench.installing import pip_install_extra
from workbench.store.answering import answer_of
from workbench.store.cleaning import Cleaning
from workbench.store.inspector import error_of
from workbench.store.spawning import spawn

if TYPE_CHECKING:
    from workbench.recipe.cleaning import CleaningRecipe

MODULE = "workbench.data.cleaning"


def start(cleaning: Cleaning) -> None:
    """Start the process, detached; also how one that was stopped, failed or was lost goes on.

    Raises `RunError` where it runs, or there is nothing left to do.
    """
    status = cleaning.status()
    if status.is_active:
        raise RunError(f"“{cleaning.name}” is running already", where=str(cleaning.path))
    if status.state == "finished":
        raise RunError(
            f"“{cleaning.name}” is finished",
            where=str(cleaning.path),
            hint=f"its result: {cleaning.result_path()}",
        )
    status.state, status.message, status.error, status.process, status.progress = (
        "starting",
        "",
        None,
        None,
        None,
    )
    status.write(cleaning.status_path)
    spawn([sys.executable, "-m", MODULE, str(cleaning.path)], cleaning.log_path, waits_for=cleaning.name)


def request_stop(cleaning: Cleaning) -> None:
    """Ask the process to end; what its tasks have finished stays. Raises `RunError` where it does not run."""
    status = cleaning.status()
    process = status.process
    if not status.is_active or process is None or process.liveness() != "alive":
        raise RunError(
            f"“{cleaning.name}” is not running here (it is {status.seen_state()})", where=str(cleaning.path)
        )
    os.kill(process.pid, signal.SIGTERM)


def wait(cleaning: Cleaning, timeout: float, poll: float = 0.1) -> str:
    """Wait until no process is at it, at most so many seconds; returns the state seen."""
    deadline = time.monotonic() + timeout
    while cleaning.status().is_active and time.monotonic() < deadline:
        time.sleep(poll)
    return cleaning.status().seen_state()


def ask(
    recipe: CleaningRecipe, what: str, *, stopped: Callable[[], bool] = lambda: False, **values: Any
) -> dict[str, Any]:
    """What the worker says of a recipe without cleaning: `dry_run` (count=N), `plan`. Its process is ended
    once `stopped` says so. Raises what it raised."""
    request = {"do": what, "recipe": recipe.model_dump(mode="json"), **values}
    code, out, err = answer_of(
        [sys.executable, "-m", f"{MODULE}.asking"], asked=json.dumps(request).encode(), stopped=stopped
    )
    try:
        answer = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        last = err.decode(errors="replace").strip().splitlines()[-5:]
        if last and last[-1].startswith("ModuleNotFoundError: "):
            raise MissingExtraError(
                f"cleaning needs a package that is missing ({last[-1].partition(': ')[2]})",
                hint=pip_install_extra("cleaning"),
            ) from None
        raise WorkbenchError(
            f"the process that tries the rules ended with code {code}", where="\n".join(last)
        ) from None
    if "error" in answer:
        raise error_of(answer["error"])
    found: dict[str, Any] = answer["result"]
    return found
