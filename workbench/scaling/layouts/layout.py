"""A layout: how a model and its data are split over devices, and which device has which part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Schedule = Literal["gpipe", "1f1b", "interleaved"]
Recompute = Literal["none", "selective", "full"]

AXES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
"""Axes of the device mesh, the outermost first: neighbours in the last one have neighbouring ranks, and so
stand in one node, where links are fastest."""


@dataclass(frozen=True)
class Layout:
    """The degrees are those of a recipe's section `parallel`.

    `pp` pipeline stages of `virtual_stages` pieces each, `dp_replicate` copies of what `dp_shard` ranks hold
    together, `cp` ranks that share a row, `tp` ranks that share each matrix. A step runs `microbatches`
    micro-batches of `rows` rows through each pipeline. `reshard`: the weights that were gathered for a
    layer's forward pass are let go, and gathered again for its backward pass, which a pipeline does not (its
    micro-batches come too fast one after another). `recompute` what is made again
    in the backward pass: nothing, what is cheap (`selective`: norms and products of single numbers), or whole
    layers (`full`: gradient checkpointing).
    """

    dp_replicate: int = 1
    dp_shard: int = 1
    cp: int = 1
    tp: int = 1
    pp: int = 1
    virtual_stages: int = 1
    schedule: Schedule = "1f1b"
    microbatches: int = 1
    rows: int = 1
    recompute: Recompute = "none"
    reshard: bool = True

    @classmethod
    def of_axes(cls, axes: Mapping[str, int]) -> Layout:
        """The layout of a mesh of these sizes; what is not among them is 1."""
        dp_replicate, dp_shard, cp, tp, pp = (
            axes.get(name, 1) for name in ("dp_replicate", "dp_shard", "cp", "tp", "pp")
        )
        return cls(dp_replicate, dp_shard, cp, tp, pp)

    @property
    def dp(self) -> int:
        """Ranks that read different rows."""
        return self.dp_replicate * self.dp_shard

    @property
    def ranks(self) -> int:
        """Devices."""
        return self.dp * self.cp * self.tp * self.pp

    @property
    def global_batch(self) -> int:
        """Rows of an optimiser step, over all ranks."""
        return self.rows * self.microbatches * self.dp

    @property
    def shards(self) -> int:
        """Ranks that hold the weights of one copy of a stage together: those of a row shard them too."""
        return self.dp_shard * self.cp

    @cached_property
    def axes(self) -> dict[str, int]:
        """The sizes of the mesh, outermost first."""
        return {name: int(getattr(self, name)) for name in AXES}

    def coordinates(self, rank: int) -> dict[str, int]:
        """Where a rank stands on each axis."""
        found: dict[str, int] = {}
        for name in reversed(AXES):
            rank, found[name] = divmod(rank, self.axes[name])
        return {name: found[name] for name in AXES}

    def stride(self, axis: str) -> int:
        """How far apart the ranks of two neighbours on an axis are."""
        stride = 1
        for name in reversed(AXES):
            if name == axis:
                return stride
            stride *= self.axes[name]
        raise KeyError(axis)

    def words(self) -> str:
        """The layout in a line, as `--layout` takes it; what is 1 is left out."""
        parts = [f"{name}={getattr(self, name)}" for name in ("dp_replicate", "dp_shard", "cp", "tp", "pp")]
        parts = [part for part in parts if not part.endswith("=1")] or ["dp_shard=1"]
        if self.pp > 1:
            parts += [f"schedule={self.schedule}"] if self.schedule != "1f1b" else []
            parts += [f"virtual_stages={self.virtual_stages}"] if self.virtual_stages > 1 else []
        parts += [f"rows={self.rows}", f"microbatches={self.microbatches}"]
        parts += [f"recompute={self.recompute}"] if self.recompute != "none" else []
        usual = self.pp == 1
        parts += [f"reshard={'yes' if self.reshard else 'no'}"] if self.reshard != usual else []
        return ",".join(parts)

    def with_batch(self, global_batch: int) -> Iterator[Layout]:
        """This layout with each way to split a step into micro-batches."""
        share, rest = divmod(global_batch, self.dp)
        if rest:
            return
        for rows in (2**power for power in range(8)):
            if share % rows == 0:
                yield replace(self, rows=rows, microbatches=share // rows)
