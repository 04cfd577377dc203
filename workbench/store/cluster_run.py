"""Making a run ready for several machines: how many processes there are and where they meet."""

from __future__ import annotations

from workbench.errors import RunError
from workbench.recipe import dump, validate
from workbench.store import slurm
from workbench.store.files import replace_file
from workbench.store.runs import Run


def launch_overrides(machines: int, processes: int, address: str, *, cpu: bool) -> list[str]:
    """The overrides of a recipe that is to run on so many machines."""
    found = [f"launch.num_processes={processes}", f"launch.num_machines={machines}"]
    found.append(f"launch.main_process_ip={address if machines > 1 else 'null'}")
    return [*found, "launch.device=cpu"] if cpu else found


def relaunch(run: Run, machines: int, processes: int, address: str, *, cpu: bool) -> None:
    """Have a run that stands still go on on so many machines.

    Raises `RunError` while a worker is at it or when it is finished, `RecipeError` where its layout does not
    go with so many processes.
    """
    status = run.status()
    if status.is_active:
        raise RunError(f"“{run.name}” is running already", where=str(run.path))
    if status.state == "finished":
        raise RunError(f"“{run.name}” is finished; there is nothing to go on with", where=str(run.path))
    slurm.check_free(run)
    mapping = run.recipe().model_dump(mode="json")
    mapping["launch"] |= {
        "num_processes": processes,
        "num_machines": machines,
        "main_process_ip": address if machines > 1 else None,
    }
    if cpu:
        mapping["launch"]["device"] = "cpu"
    recipe = validate(mapping, str(run.recipe_path))
    replace_file(run.recipe_path, dump(recipe).encode(), durable=True)
    status.num_processes = processes * machines
    status.write(run.status_path)
