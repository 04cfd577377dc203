"""The parallel section: how a model and its data are split over processes, and which splits there can be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from workbench.recipe.section import Section

if TYPE_CHECKING:
    from workbench.recipe.sections import Recipe

SPLIT_OBJECTIVES = ("clm", "sft")
"""Objectives whose model can be split inside (tp, cp, pp): one forward pass of a causal decoder a row."""
VIRTUAL_STAGES = 2
"""Stages on each rank of an interleaved schedule, where the recipe does not say."""


@dataclass(frozen=True)
class Degrees:
    """How many ways each thing is split; their product is the number of processes.

    Ranks count with `tp` fastest, then `cp`, `dp_shard`, `dp_replicate`, and `pp` slowest: what talks most is
    nearest, as in Megatron-LM (Narayanan et al. 2021, section 3).
    """

    pp: int = 1
    dp_replicate: int = 1
    dp_shard: int = 1
    cp: int = 1
    tp: int = 1

    @property
    def world_size(self) -> int:
        """All processes."""
        return self.pp * self.dp_replicate * self.dp_shard * self.cp * self.tp

    @property
    def data_size(self) -> int:
        """Groups of processes that read different rows."""
        return self.dp_replicate * self.dp_shard

    @property
    def is_plain(self) -> bool:
        """Whether each process holds all of the model: one process, or plain data parallelism."""
        return self.world_size == self.dp_replicate

    @property
    def shard_size(self) -> int:
        """Ways in which weights, gradients and optimiser states are sharded by FSDP: over `dp_shard` and
        `cp`."""
        return self.dp_shard * self.cp

    def as_dict(self) -> dict[str, int]:
        """Sizes by name, outermost first."""
        return asdict(self)

    def coordinates(self, rank: int) -> dict[str, int]:
        """Where a rank stands on each axis."""
        found = {}
        for name, size in reversed(self.as_dict().items()):
            rank, found[name] = divmod(rank, size)
        return {name: found[name] for name in self.as_dict()}

    def __str__(self) -> str:
        """`dp_shard 4 × tp 2`: what is split at all."""
        return (
            " × ".join(f"{name} {size}" for name, size in self.as_dict().items() if size > 1) or "1 process"
        )


class ParallelSection(Section):
    """How model and data are split. The product of the degrees is the number of processes."""

    dp_replicate: int | None = Field(
        None,
        ge=1,
        description="Copies of the model, each on rows of its own (DDP; HSDP together with dp_shard). "
        "Empty: what the other degrees leave of the processes.",
    )
    dp_shard: int = Field(
        1, ge=1, description="Ranks that share weights, gradients and optimiser states (FSDP2), on own rows."
    )
    tp: int = Field(1, ge=1, description="Ranks that share each matrix of a layer (tensor parallelism).")
    cp: int = Field(1, ge=1, description="Ranks that share each row, in pieces (context parallelism).")
    pp: int = Field(1, ge=1, description="Ranks that share the layers, one after another (pipeline).")
    pp_schedule: Literal["1f1b", "interleaved", "gpipe"] = Field(
        "1f1b", description="Order of a pipeline's forward and backward passes; interleaved: smaller bubble."
    )
    pp_microbatches: int | None = Field(
        None,
        ge=1,
        description="Parts of the rows of a step that go through a pipeline. Empty: at least 2·pp if there "
        "are as many rows.",
    )
    pp_virtual_stages: int | None = Field(
        None, ge=1, description="Stages on each rank of an interleaved schedule. Empty: 2."
    )

    @property
    def stages_per_rank(self) -> int:
        """Stages that each rank of a pipeline holds."""
        return (self.pp_virtual_stages or VIRTUAL_STAGES) if self.pp_schedule == "interleaved" else 1

    def degrees(self, world_size: int) -> Degrees:
        """The degrees for so many processes. Raises `ValueError` naming the nearest that are possible."""
        inner = self.dp_shard * self.tp * self.cp * self.pp
        replicas = self.dp_replicate
        if replicas is None and world_size % inner == 0:
            replicas = world_size // inner
        if replicas is None or replicas * inner != world_size:
            asked = Degrees(self.pp, self.dp_replicate or 1, self.dp_shard, self.cp, self.tp)
            some = "" if self.dp_replicate else "a multiple of "
            raise ValueError(
                f"parallel asks for {asked}, which takes {some}{asked.world_size} processes; launch gives "
                f"{world_size}: {_nearest(self, world_size, asked.world_size)}"
            )
        return Degrees(self.pp, replicas, self.dp_shard, self.cp, self.tp)

    def microbatches(self, rows: int) -> int:
        """Into how many parts a pipeline cuts the rows of a step. Raises `ValueError`."""
        if self.pp_microbatches is None:
            enough = [n for n in range(1, rows + 1) if rows % n == 0 and n >= 2 * self.pp]
            return next((n for n in enough if self._fits_rounds(n)), rows)
        if rows % self.pp_microbatches:
            raise ValueError(
                f"parallel.pp_microbatches {self.pp_microbatches} does not divide the {rows} rows that a "
                "pipeline takes in a step; the nearest that does is "
                f"{nearest_divisor(rows, self.pp_microbatches)}"
            )
        return self.pp_microbatches

    def _fits_rounds(self, microbatches: int) -> bool:
        """Interleaved stages work in rounds of at least `pp` micro-batches, all of one size."""
        return self.pp_schedule != "interleaved" or microbatches % max(1, microbatches // self.pp) == 0


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of `number` nearest to `wanted`, the smaller of two."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return min(divisors, key=lambda n: (abs(n - wanted), n))


def _nearest(section: ParallelSection, world_size: int, product: int) -> str:
    """What would be possible: other processes for these degrees, or other degrees for these processes."""
    fixed = section.dp_replicate is not None
    told = [f"launch as many as {product if fixed else -(-world_size // product) * product}"]
    for name in ("dp_replicate", "dp_shard", "cp", "tp", "pp"):
        wanted = getattr(section, name) or 1
        others = product // wanted
        if world_size % others == 0 and (fixed or wanted > 1):
            room = world_size // others
            told.append(f"or set parallel.{name}={room if fixed else nearest_divisor(room, wanted)}")
            break
    return ", ".join(told)


def check_parallel(recipe: Recipe) -> None:
    """Raise `ValueError` for a layout that cannot be, as far as a recipe alone tells."""
    section, launch, training = recipe.parallel, recipe.launch, recipe.training
    degrees = section.degrees(launch.world_size)
    if degrees.is_plain:
        return
    if training.fp16:
        raise ValueError(
            f"training.fp16 scales its loss, which {degrees} does not do; set training.bf16=true instead"
        )
    if training.torch_compile:
        raise ValueError(f"training.torch_compile does not go with {degrees}; set it to false")
    inside = Degrees(pp=degrees.pp, cp=degrees.cp, tp=degrees.tp)
    instead = f"parallel.dp_shard={degrees.world_size} splits it all the same"
    if inside.world_size > 1:
        if recipe.objective.name not in SPLIT_OBJECTIVES:
            raise ValueError(
                f"objective.name {recipe.objective.name} cannot be split by {inside}, which is for "
                f"{' and '.join(SPLIT_OBJECTIVES)}; {instead}"
            )
        if recipe.tuning.is_adapter:
            raise ValueError(
                f"tuning.method {recipe.tuning.method} does not go with {inside}; parallel.dp_shard="
                f"{degrees.world_size} shards the frozen weights"
            )
    if degrees.pp > 1:
        rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
        microbatches = section.microbatches(rows)
        if not section._fits_rounds(microbatches):
            raise ValueError(
                f"an interleaved schedule over pp {degrees.pp} takes a multiple of as many micro-batches; "
                f"there are {microbatches}; set parallel.pp_microbatches or "
                "training.per_device_train_batch_size"
            )
    _check_shape(recipe, degrees)


def _check_shape(recipe: Recipe, degrees: Degrees) -> None:
    """Of a new model the shape is known already; that of a loaded one is checked once it is."""
    model = recipe.model
    if model.model_name_or_path:
        return
    check_shape(
        degrees,
        recipe.parallel.stages_per_rank,
        heads=model.num_attention_heads,
        kv_heads=model.num_key_value_heads or model.num_attention_heads,
        layers=model.num_hidden_layers,
    )


def check_shape(degrees: Degrees, stages_per_rank: int, *, heads: int, kv_heads: int, layers: int) -> None:
    """Raise `ValueError` where a decoder's shape cannot be split so, with the nearest split that can be."""
    if heads % degrees.tp or kv_heads % degrees.tp:
        both = [n for n in range(1, kv_heads + 1) if heads % n == 0 and kv_heads % n == 0]
        best = min(both, key=lambda n: (abs(n - degrees.tp), n))
        raise ValueError(
            f"parallel.tp {degrees.tp} does not divide the model's {heads} attention heads and {kv_heads} "
            f"key-value heads; the nearest that does is parallel.tp={best}"
        )
    stages = degrees.pp * stages_per_rank
    if stages > layers:
        raise ValueError(
            f"a pipeline of {stages} stages (parallel.pp {degrees.pp} × {stages_per_rank} a rank) is longer "
            f"than the model's {layers} layers; the nearest that fits is "
            f"parallel.pp={max(1, layers // stages_per_rank)}"
        )
