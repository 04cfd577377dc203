"""The batch script that trains a run under Slurm."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench import paths
from workbench.errors import UsageError
from workbench.store.runs import Run

TIME = re.compile(r"(\d+-)?\d+(:\d{1,2}){0,2}")
NAME = re.compile(r"[\w.:/@+,\[\]&|*-]+")
WARNING_SECONDS = 300


@dataclass(frozen=True)
class Resources:
    """What a job asks Slurm for. `processes` are those of each node: one a GPU, or, without GPUs, of the CPU.

    `setup` are lines of shell that run on every node before the worker, such as `module load cuda`.
    `warning` is how many seconds before the end of its time a job is told, to checkpoint and be requeued.
    """

    nodes: int
    processes: int
    gpus: int
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus_per_task: int | None = None
    memory: str | None = None
    container: str | None = None
    mounts: str | None = None
    setup: tuple[str, ...] = ()
    python: str = sys.executable
    requeue: bool = True
    warning: int = WARNING_SECONDS

    def check(self) -> None:
        """Raise `UsageError` for what Slurm, or the shell, would read as something else."""
        if self.time is not None and not TIME.fullmatch(self.time):
            raise UsageError(
                f"“{self.time}” is no time of Slurm's",
                where="--time",
                hint="minutes, hours:minutes:seconds or days-hours:minutes:seconds, such as 1-12:00:00",
            )
        seconds = seconds_of(self.time) if self.time else 0
        if self.requeue and 0 < seconds < 2 * self.warning:
            raise UsageError(
                f"told {self.warning} seconds before its end, a job of {self.time} has no time to train",
                where="--warning",
                hint=f"--warning {max(1, seconds // 10)}, or a longer --time",
            )
        for option in ("partition", "account", "qos", "constraint", "memory", "container", "mounts"):
            value = getattr(self, option)
            if value is not None and not NAME.fullmatch(value):
                raise UsageError(f"“{value}” is no name of Slurm's", where=f"--{option}")
        if any("\n" in line or "\r" in line for line in self.setup):
            raise UsageError("a line of setup has no line end in it", where="--setup", hint="give several")

    def directives(self, run: Run) -> list[str]:
        """What stands behind `#SBATCH`."""
        # Slurm replaces % in names of files, and takes what follows a blank as another option.
        log = str(run.path / "slurm-").replace("%", "%%") + "%j.log"
        asked = {
            "job-name": f"workbench-{run.name}",
            "nodes": self.nodes,
            "ntasks-per-node": 1,
            "gpus-per-node": self.gpus or None,
            "cpus-per-task": self.cpus_per_task,
            "mem": self.memory,
            "time": self.time,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "output": f'"{log}"' if re.search(r"\s", log) else log,
            "open-mode": "append",
        }
        lines = [f"--{name}={value}" for name, value in asked.items() if value is not None]
        return [*lines, "--requeue" if self.requeue else "--no-requeue", f"--signal=B:USR1@{self.warning}"]


def seconds_of(time: str) -> int:
    """A time as Slurm reads it: minutes, minutes:seconds, hours:minutes:seconds, or days-hours and so on."""
    days, dash, rest = time.rpartition("-")
    numbers = [int(number) for number in rest.split(":")]
    units = (3600, 60, 1) if dash or len(numbers) == 3 else (60, 1)
    return int(days or 0) * 86400 + sum(a * b for a, b in zip(numbers, units, strict=False))


def script(run: Run, resources: Resources) -> str:
    """The script of a run. Raises `UsageError`."""
    resources.check()
    directives = "\n".join(f"#SBATCH {line}" for line in resources.directives(run))
    setup = "\n".join(f"    {line}" for line in resources.setup) or "    :"
    container = []
    if resources.container:
        mounts = resources.mounts or f"{paths.home()}:{paths.home()}"
        container = [f"--container-image={resources.container}", f"--container-mounts={mounts}"]
    srun = shlex.join(["srun", "--kill-on-bad-exit=1", "--nodes", str(resources.nodes), *container])
    return TEMPLATE.format(
        name=run.name,
        directives=directives,
        run=shlex.quote(str(run.path)),
        home=shlex.quote(str(_home_of(run))),
        python=shlex.quote(resources.python),
        worker=ALONE if resources.nodes * resources.processes == 1 else LAUNCHER,
        setup=setup,
        srun=srun,
        requeue="yes" if resources.requeue else "no",
    )


def _home_of(run: Run) -> Path:
    return run.path.parent.parent if run.path.parent.name == "runs" else paths.home()


ALONE = 'workbench.training "$run"'
LAUNCHER = (
    'workbench.training.launcher "$run" --machine-rank "$SLURM_NODEID" '
    '--main-process-ip "$MASTER_ADDR" --main-process-port "$MASTER_PORT"'
)

# One launcher on each node; what it starts meets at the first node. The batch shell hears of the end of its
# time (USR1) or of preemption (TERM), asks the worker to checkpoint through the run's folder, which every
# node sees, waits for it, and has the job queued again, so that it goes on from there.
TEMPLATE = r"""#!/bin/bash
# Trains the run {name}. Written by `workbench launch slurm`; submit it with sbatch.
{directives}

set -u
run={run}
python={python}
requeue={requeue}
export WORKBENCH_HOME={home} PYTHONUNBUFFERED=1
export MASTER_ADDR MASTER_PORT
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=${{WORKBENCH_MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}}
[ -n "$MASTER_ADDR" ] || {{ echo "no first node in ${{SLURM_JOB_NODELIST:-}}" >&2; exit 1; }}

# What an earlier, requeued job was asked is answered.
rm -f "$run/stop-requested"

told=""
tell() {{
    told="$1"
    echo "$(date '+%F %T') $1: the worker is asked to checkpoint and stop"
    touch "$run/stop-requested"
}}
trap 'tell USR1' USR1
trap 'tell TERM' TERM

# What each node does; srun hands the function on with the environment.
on_node() {{
{setup}
    exec "$python" -m {worker}
}}
export run python
export -f on_node
{srun} bash -c on_node >> "$run/train.log" 2>&1 &
child=$!

# A signal to this shell ends `wait` before the child has ended, with a code that is not the child's.
code=1
while kill -0 "$child" 2> /dev/null; do
    wait "$child"
    code=$?
done
wait "$child"
last=$?
# 127: the shell knows of it no more.
[ "$last" -eq 127 ] || code=$last

# scancel sends TERM too: what a person took out of the queue stays out.
case "$(scontrol show job "$SLURM_JOB_ID" 2> /dev/null)" in
    *JobState=CANCELLED*) requeue=no ;;
esac

if [ -n "$told" ] && [ "$requeue" = yes ] && grep -Eq '"state": *"stopped"' "$run/status.json"; then
    echo "$(date '+%F %T') checkpoint written, the job is queued again"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
"""
