"""Where a process stands in a layout: which rows it reads, what it speaks for, whom it adds up with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from workbench.recipe.parallel_section import Degrees

if TYPE_CHECKING:
    from accelerate import Accelerator

AXES = ("pp", "dp_replicate", "fsdp", "tp")
"""Of the mesh, outermost first; `fsdp` is `dp_shard` × `cp`, over both of which weights are sharded."""


@dataclass(frozen=True)
class Layout:
    """The degrees, and this process's place in them. `mesh` is None where each process holds all of a
    model."""

    accelerator: Accelerator
    degrees: Degrees
    mesh: DeviceMesh | None = None
    cp_group: dist.ProcessGroup | None = None

    @classmethod
    def plain(cls, accelerator: Accelerator) -> Layout:
        """One process, or plain data parallelism by Accelerate (DDP)."""
        return cls(accelerator, Degrees(dp_replicate=accelerator.num_processes))

    @classmethod
    def make(cls, degrees: Degrees, accelerator: Accelerator, patience: timedelta) -> Layout:
        """The mesh and groups of all processes; every one of them calls this. `patience` is how long one
        waits for another in an exchange."""
        if degrees.is_plain:
            return cls(accelerator, degrees)
        shape = (degrees.pp, degrees.dp_replicate, degrees.shard_size, degrees.tp)
        mesh = init_device_mesh(accelerator.device.type, shape, mesh_dim_names=AXES)
        layout = cls(accelerator, degrees, mesh, _cp_group(degrees, mesh))
        groups = [mesh.get_group(axis) for axis in AXES]
        for group in (*groups, *([layout.cp_group] if layout.cp_group else [])):
            set_patience(group, patience)
        return layout

    @property
    def device(self) -> torch.device:
        """This process's device."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def rank(self) -> int:
        """This process among all."""
        index: int = self.accelerator.process_index
        return index

    @property
    def coordinates(self) -> dict[str, int]:
        """This process's place on each axis of the recipe."""
        return self.degrees.coordinates(self.rank)

    @property
    def is_plain(self) -> bool:
        """See `Degrees.is_plain`."""
        return self.degrees.is_plain

    @property
    def data_size(self) -> int:
        """Groups of processes that read different rows."""
        return self.degrees.data_size

    @property
    def data_rank(self) -> int:
        """Which of them this process is in: it picks the rows, the same for all ranks of tp, cp and pp."""
        place = self.coordinates
        return place["dp_replicate"] * self.degrees.dp_shard + place["dp_shard"]

    @property
    def grad_size(self) -> int:
        """Processes over which a gradient is averaged: those of the data, and those that share rows."""
        return self.data_size * self.degrees.cp

    @property
    def counts_rows(self) -> bool:
        """Whether this process speaks for the rows of its group, so that they count once."""
        place = self.coordinates
        return place["tp"] == place["cp"] == 0 and place["pp"] == self.degrees.pp - 1

    @property
    def counts_losses(self) -> bool:
        """Whether its losses count: ranks of cp have each a part of them, ranks of tp all have the same."""
        place = self.coordinates
        return place["tp"] == 0 and place["pp"] == self.degrees.pp - 1

    @property
    def seed_offset(self) -> int:
        """What a process adds to the seed: ranks of tp draw the same, for what they compute must be the
        same."""
        if self.is_plain:
            return self.rank
        place = self.coordinates
        return (self.data_rank * self.degrees.cp + place["cp"]) * self.degrees.pp + place["pp"]

    def group(self, axis: str) -> dist.ProcessGroup:
        """The processes along an axis of the mesh."""
        assert self.mesh is not None
        return self.mesh.get_group(axis)

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        """A vector on the CPU added up over all processes."""
        if self.degrees.world_size == 1:
            return sums
        on_device: torch.Tensor = sums.to(self.device)
        dist.all_reduce(on_device)
        return on_device.cpu()

    def as_dict(self) -> dict[str, Any]:
        """The sizes, as checkpoints keep them."""
        return self.degrees.as_dict()


def set_patience(group: dist.ProcessGroup, patience: timedelta) -> None:
    """How long exchanges in a group wait: a new one begins with its backend's own time."""
    setter: Any = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
    setter(patience, group)


def _cp_group(degrees: Degrees, mesh: DeviceMesh) -> dist.ProcessGroup | None:
    """The ranks that share this one's rows; `cp` counts faster than `dp_shard` on the axis of both."""
    if degrees.cp == 1:
        return None
    lines = mesh.mesh.transpose(2, 3).reshape(-1, degrees.cp)
    own: dist.ProcessGroup | None = dist.new_subgroups_by_enumeration(lines.tolist())[0]  # type: ignore[assignment]
    return own
