"""`python -m workbench.training.launcher RUN_DIR`: the processes of a run on this machine, through
`accelerate launch`.

It starts them, ends the others when one fails, and says in the run's status which was the first and why. On
several machines one launcher runs on each, with `--machine-rank`; they meet at the first one's address.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from workbench.errors import TrainingError
from workbench.store.ranks import OVER, read_ranks
from workbench.store.runs import Run
from workbench.store.status import ACTIVE_STATES, Status
from workbench.training import failures

DEFAULT_PORT = 29500
PATIENCE_SECONDS = 15.0
"""For the main process, perhaps on another machine, to have said its own last word, which is put right
then."""


def main(arguments: list[str]) -> int:
    """Run the processes to their end. Returns the exit code: 0 all finished or stopped, 1 one failed."""
    parser = argparse.ArgumentParser(prog="python -m workbench.training.launcher")
    parser.add_argument("run", type=Path)
    parser.add_argument("--machine-rank", type=int, default=0)
    parser.add_argument("--main-process-ip")
    parser.add_argument("--main-process-port", type=int)
    asked = parser.parse_args(arguments)
    run = Run(asked.run.resolve())
    section = run.recipe().launch
    address = asked.main_process_ip or section.main_process_ip
    port = asked.main_process_port if asked.main_process_port is not None else section.main_process_port
    if not 0 <= asked.machine_rank < section.num_machines:
        print(f"machine {asked.machine_rank} is none of {section.num_machines}, from 0 on", file=sys.stderr)
        return 2
    # --multi_gpu is what makes it start one process a rank through torchrun, on CPUs (gloo) as well;
    # --cpu would leave that to MPI and start a single process.
    words = ["--multi_gpu", "--num_processes", str(section.world_size)]
    words += ["--num_machines", str(section.num_machines), "--machine_rank", str(asked.machine_rank)]
    words += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    if section.num_machines > 1:
        words += ["--main_process_ip", str(address), "--main_process_port", str(port or DEFAULT_PORT)]
    else:
        words += ["--main_process_port", str(port or 0)]
    return launch([*words, "-m", "workbench.training", str(run.path)], run)


def launch(words: list[str], run: Run) -> int:
    """`accelerate launch` with such arguments, and a look at what it leaves."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    began = time.time()
    try:
        launch_command(launch_command_parser().parse_args(words))
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        explain(run, ended_by_signal(error), began)
        return 1
    except SignalException as error:
        name = signal.Signals(error.sigval).name
        hint = "by a person, or by a batch system at the end of the job's time"
        explain(run, [], began, otherwise=(f"what started the processes was ended by {name}", hint))
        return 1
    except Exception as error:
        # The machines did not meet: there were no processes to fail.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        hint = "is launch.main_process_ip the first machine's address?"
        explain(run, [], began, otherwise=(f"the machines did not meet: {error}", hint))
        return 1
    return 0


def ended_by_signal(error: Any) -> list[failures.Failure]:
    """Those of this machine's processes that did not end by themselves."""
    return [
        failures.killed(rank, -failure.exitcode, failure.pid, failure.timestamp)
        for rank, failure in error.failures.items()
        if failure.exitcode < 0
    ]


def explain(
    run: Run, ended: list[failures.Failure], began: float, otherwise: tuple[str, str] | None = None
) -> None:
    """Say in the run's status which process was the first to fail, unless it has said so itself; `otherwise`
    is what to say, and advise, where none did."""
    status = wait_for_last_word(run)
    if status is None:
        return
    spoken = failures.words_of(run, began)
    found = failures.first(spoken, ended)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found is not None and found.is_lost and run.recipe().launch.num_machines > 1:
        # What was lost is on another machine, whose launcher knows more.
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
        spoken = failures.words_of(run, began)
        found = failures.first(spoken, ended)
    if any(word.rank == 0 and not word.is_lost for word in spoken) or (found is None and otherwise is None):
        return
    if found is None:
        assert otherwise is not None
        message, hint = otherwise[0].splitlines()[0][:300], otherwise[1]
    elif found.is_lost:
        silent = [rank.place for rank in read_ranks(run.path) if rank.phase not in OVER]
        who = ", ".join(f"rank {place.rank} on {place.host}" for place in silent) or "another process"
        message, hint = f"{who} is gone, or does not answer", "the machine or its network may be down"
    else:
        if found in ended:
            failures.write(run, found)
        message, hint = found.words, found.hint
    resume = f"go on from the last checkpoint: workbench runs resume {run.name}"
    error = TrainingError(message, where=str(run.log_path), hint=f"{hint}; {resume}" if hint else resume)
    print(error.render(), file=sys.stderr)
    status.state, status.message, status.ended = "failed", message, time.time()
    status.error, status.progress, status.eta_seconds = error.as_dict(), None, None
    status.write(run.status_path, durable=True)


def wait_for_last_word(run: Run) -> Status | None:
    """The status once no process is going to change it; None where the run has ended well, or goes on
    already."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        status = run.status()
        is_gone = status.process is not None and status.process.liveness() == "gone"
        if status.state == "failed" or (status.state in ACTIVE_STATES and is_gone):
            return status
        if status.state not in ACTIVE_STATES:
            return None
        time.sleep(0.2)
    return None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
