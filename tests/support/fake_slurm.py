"""Stand-ins for Slurm's commands that run a job's "nodes" as processes of this machine."""

from __future__ import annotations

from pathlib import Path

SBATCH = """#!/bin/bash
echo "sbatch $*" >> "$FAKE_SLURM/calls"
[ -e "$FAKE_SLURM/refuse" ] && { echo "sbatch: error: invalid partition specified" >&2; exit 1; }
echo 4242
"""
SQUEUE = """#!/bin/bash
cat "$FAKE_SLURM/queue" 2> /dev/null || { echo "slurm_load_jobs error: Invalid job id" >&2; exit 1; }
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$FAKE_SLURM/calls"
[ "$1 $2" = "show hostnames" ] && printf '127.0.0.1\\nlocalhost\\n'
[ "$1 $2" = "show job" ] && cat "$FAKE_SLURM/job" 2> /dev/null
exit 0
"""
# Starts what it is given once a node, as srun does with one task each.
SRUN = """#!/bin/bash
echo "srun $*" >> "$FAKE_SLURM/calls"
nodes=1
while [ "${1#-}" != "$1" ]; do
    [ "$1" = --nodes ] && { nodes=$2; shift; }
    shift
done
children=()
for ((node = 0; node < nodes; node++)); do
    SLURM_NODEID=$node "$@" &
    children+=($!)
done
trap 'kill -TERM "${children[@]}"' TERM
code=0
for child in "${children[@]}"; do
    wait "$child" || code=$?
done
exit $code
"""


def install(folder: Path) -> Path:
    """Put the commands into a folder for PATH; what they were called with stands in its file `calls`."""
    folder.mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL), ("srun", SRUN)):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
    return folder
