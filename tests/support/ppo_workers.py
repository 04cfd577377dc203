"""Workers of PPO runs, each a fork of this process, killed by themselves in the middle of a phase.

`python ppo_workers.py FOLDER[:PHASE:COUNT] …` runs them one after another: PHASE is rollout, learning or
checkpoint, and the process gets SIGKILL at the COUNT-th time that it is in the midst of one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _deadly(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    left = [count]

    def called(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return called


def _arm(phase: str, count: int) -> None:
    from workbench.training.ppo import native_writer, saving
    from workbench.training.ppo.learner import Learner

    places: dict[str, tuple[Any, str]] = {
        "rollout": (native_writer, "decode_step"),
        "learning": (Learner, "_minibatch"),
        # The policy is written then, and its optimiser not.
        "checkpoint": (saving, "save_critic"),
    }
    holder, name = places[phase]
    setattr(holder, name, _deadly(getattr(holder, name), count))


def main(tasks: list[str]) -> int:
    """Run them; 0 when each ended as it was meant to."""
    import torch

    import workbench.training.ppo.session
    import workbench.training.worker  # noqa: F401

    # A pool of threads would not live on in a fork.
    torch.set_num_threads(1)
    for task in tasks:
        folder, _, deadly = task.partition(":")
        child = os.fork()
        if not child:
            if deadly:
                phase, _, count = deadly.partition(":")
                _arm(phase, int(count))
            from workbench.training.worker import main as work

            os._exit(work(Path(folder)))
        _, status = os.waitpid(child, 0)
        wanted = -signal.SIGKILL if deadly else 0
        if os.waitstatus_to_exitcode(status) != wanted:
            print(f"{task} ended with {os.waitstatus_to_exitcode(status)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
