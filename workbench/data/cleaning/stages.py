"""The chain of stages that a recipe means; each is a datatrove pipeline and its number of tasks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.blocks import GLOBAL, StepBlock, before
from workbench.data.cleaning.copies import exact, near
from workbench.data.cleaning.copies.dropping import ExactDecider, NearDecider
from workbench.data.cleaning.copies.exact import HashSorter, HashWriter
from workbench.data.cleaning.copies.near import CandidateFinder, SignatureWriter, bands_for
from workbench.data.cleaning.copies.places import Places
from workbench.data.cleaning.copies.runs import most_pairs
from workbench.data.cleaning.copies.verify import Verifier
from workbench.data.cleaning.layout import Layout
from workbench.data.cleaning.plan import Plan
from workbench.data.cleaning.reading import SourceReader
from workbench.data.cleaning.reports.collecting import ReportCollector
from workbench.data.cleaning.results import ResultWriter, SchemaCollector
from workbench.data.cleaning.shards import ShardReader, ShardWriter
from workbench.data.cleaning.slurm import Blocks
from workbench.data.cleaning.steps.boilerplate import LineCounter, LineGatherer
from workbench.recipe.cleaning import CleaningRecipe, StepName

LAST = "cleaned"
"""The folder of the shards behind the last step."""


@dataclass(frozen=True)
class Stage:
    """One pipeline. `make` is called when the stages before are done: only then is the number of tasks
    known."""

    name: str
    make: Callable[[], tuple[Blocks, int]]
    steps: tuple[StepName, ...] = ()
    leaves: tuple[Path, ...] = field(default=())

    def clear(self) -> None:
        """Remove what nobody needs behind this stage."""
        for folder in self.leaves:
            shutil.rmtree(folder, ignore_errors=True)


def stages_of(recipe: CleaningRecipe, layout: Layout, plan: Plan) -> list[Stage]:
    """All stages in their order."""
    folder, shards = layout.path, len(plan.shards)
    stages: list[Stage] = []
    source = ""
    blocks: list[Callable[[str], PipelineStep]] = []
    taken: list[StepName] = []

    def add_map(tail: Callable[[str], Blocks]) -> None:
        name = f"{len(stages):02d}-" + ("read" if not source else f"after-{source.removeprefix('before-')}")
        made, origin = list(blocks), source

        def make() -> tuple[Blocks, int]:
            reader = ShardReader(folder, name, origin) if origin else SourceReader(folder, name)
            return [reader, *(make_block(name) for make_block in made), *tail(name)], shards

        gone: tuple[Path, ...] = ()
        if origin:
            gone = (layout.work(origin), layout.work(origin.removeprefix("before-")))
        stages.append(Stage(name, make, tuple(taken), gone))
        blocks.clear()
        taken.clear()

    def step_block(number: int, step: StepName) -> Callable[[str], PipelineStep]:
        return lambda stage: StepBlock(folder, number, step)

    for number, step in enumerate(recipe.steps(), 1):
        if step in GLOBAL:
            into = before(step)
            collector = _collector(step, recipe, layout)
            add_map(lambda stage, into=into, collector=collector: [collector, ShardWriter(folder, into)])  # type: ignore[misc]
            stages += _finders(step, recipe, layout, shards, len(stages))
            source = into
        blocks.append(step_block(number, step))
        taken.append(step)
    add_map(lambda stage: [SchemaCollector(folder), ShardWriter(folder, LAST)])
    name = f"{len(stages):02d}-write"
    last: Blocks = [ShardReader(folder, name, LAST), ReportCollector(folder), ResultWriter(folder)]
    stages.append(Stage(name, lambda: (last, shards)))
    return stages


def _collector(step: StepName, recipe: CleaningRecipe, layout: Layout) -> PipelineStep:
    folder = layout.work(step, "collected")
    if step == "boilerplate":
        return LineCounter(folder, recipe.boilerplate)
    if step == "exact_duplicates":
        return HashWriter(folder, recipe.exact_duplicates)
    return SignatureWriter(folder, recipe.near_duplicates, recipe.run.seed + 1)


def _finders(step: StepName, recipe: CleaningRecipe, layout: Layout, shards: int, number: int) -> list[Stage]:
    """The stages between collecting and filtering."""
    collected, memory = layout.work(step, "collected"), recipe.executor.memory_megabytes << 20
    work = [layout.work(step, part) for part in ("pairs", "edges", "drops", "found")]
    pairs, edges, drops, found = work

    def records() -> int:
        return Places.of(collected, shards).total

    def candidates() -> tuple[Blocks, int]:
        s = recipe.near_duplicates
        parts = near.parts_for(records(), memory)
        bands = bands_for(s.threshold, s.num_perm, s.recall)[0]
        tasks = near.tasks_for(records(), bands, parts)
        return [CandidateFinder(collected, pairs, s, shards, parts, most_pairs(memory))], tasks

    def copies() -> tuple[Blocks, int]:
        return [HashSorter(collected, pairs, recipe.exact_duplicates, shards)], exact.parts_for(
            records(), memory
        )

    def lines() -> tuple[Blocks, int]:
        size = sum(path.stat().st_size for path in collected.glob("*.npy"))
        return [LineGatherer(collected, found, recipe.boilerplate, shards)], max(1, -(-size * 4 // memory))

    makers: list[tuple[str, Callable[[], tuple[Blocks, int]]]]
    if step == "boilerplate":
        makers = [("lines", lines)]
    elif step == "exact_duplicates":
        makers = [
            ("copies", copies),
            ("decide", lambda: ([ExactDecider(collected, pairs, drops, shards)], 1)),
        ]
    else:
        near_settings, most = recipe.near_duplicates, most_pairs(memory)
        makers = [
            ("candidates", candidates),
            ("verify", lambda: ([Verifier(collected, pairs, edges, near_settings, shards, most)], shards)),
            ("decide", lambda: ([NearDecider(collected, edges, drops, shards)], 1)),
        ]
    return [Stage(f"{number + n:02d}-{step}-{name}", make) for n, (name, make) in enumerate(makers)]
