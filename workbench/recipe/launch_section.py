"""The launch section: on what a run runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench.recipe.section import Section


class LaunchSection(Section):
    """On what the run runs."""

    num_processes: int = Field(
        1,
        ge=1,
        description="Processes on each machine, one a GPU; more than one go through accelerate launch.",
    )
    num_machines: int = Field(
        1, ge=1, description="Machines that train together; all of them see the run's folder."
    )
    main_process_ip: str | None = Field(
        None, description="Address of the first machine, where the others can reach it."
    )
    main_process_port: int | None = Field(
        None, ge=0, le=65535, description="Port on the first machine. Empty: 29500, or a free one if alone."
    )
    ddp_timeout: int = Field(
        600, ge=10, description="Seconds that a process waits for another in one exchange before it gives up."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: the GPU if there is one, else the CPU."
    )
    num_threads: int | None = Field(
        None, ge=1, description="CPU threads of each process. Empty: the cores, shared among the processes."
    )

    @model_validator(mode="after")
    def _machines_can_meet(self) -> LaunchSection:
        if self.num_machines > 1 and not self.main_process_ip:
            raise ValueError(
                "launch.num_machines above 1 needs launch.main_process_ip, the address of the first machine"
            )
        return self

    @property
    def world_size(self) -> int:
        """Processes on all machines together."""
        return self.num_processes * self.num_machines
