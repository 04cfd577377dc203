"""A step as a block of a datatrove pipeline: judges, logs, and lets pass."""

from __future__ import annotations

from pathlib import Path

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.dropping import Copies
from workbench.data.cleaning.layout import Layout
from workbench.data.cleaning.pii.step import PII
from workbench.data.cleaning.plan import Plan
from workbench.data.cleaning.shards import Lookup
from workbench.data.cleaning.step_log import StepLog
from workbench.data.cleaning.steps.boilerplate import Boilerplate
from workbench.data.cleaning.steps.c4 import C4
from workbench.data.cleaning.steps.decontamination import Decontamination
from workbench.data.cleaning.steps.language import Language
from workbench.data.cleaning.steps.normalise import Normalise
from workbench.data.cleaning.steps.quality import FineWeb, GopherQuality, GopherRepetition
from workbench.data.cleaning.toxicity.step import Toxicity
from workbench.data.cleaning.verdicts import Step, dropped
from workbench.recipe.cleaning import CleaningRecipe, StepName

GLOBAL: tuple[StepName, ...] = ("boilerplate", "exact_duplicates", "near_duplicates")
"""Steps that must have seen all records before they can judge one."""


def make_step(name: StepName, recipe: CleaningRecipe, layout: Layout, rank: int) -> Step:
    """The step of a name, for one shard. What a global one needs was written by the stages before."""
    if name == "normalise":
        return Normalise(recipe.normalise)
    if name == "language":
        return Language(recipe.language)
    if name == "gopher_quality":
        return GopherQuality(recipe.gopher_quality)
    if name == "gopher_repetition":
        return GopherRepetition(recipe.gopher_repetition)
    if name == "c4":
        return C4(recipe.c4)
    if name == "fineweb":
        return FineWeb(recipe.fineweb)
    if name == "toxicity":
        return Toxicity(recipe.toxicity)
    if name == "pii":
        return PII(recipe.pii)
    if name == "decontamination":
        return Decontamination(recipe.decontamination, layout.work("decontamination"))
    if name == "boilerplate":
        return Boilerplate(recipe.boilerplate, layout.work(name, "found"))
    kind = Plan.from_json(layout.plan.read_bytes()).kind
    wants = f"< {recipe.near_duplicates.threshold}" if name == "near_duplicates" else ""
    reason = "near_duplicate" if name == "near_duplicates" else "duplicate"
    return Copies(layout.work(name, "drops"), rank, reason, Lookup(layout.work(before(name)), kind), wants)


def before(name: StepName) -> str:
    """The folder of the shards that a global step reads."""
    return f"before-{name}"


class StepBlock(PipelineStep):
    """Puts the records of a shard through a step."""

    type = "step"

    def __init__(self, folder: Path, number: int, name: StepName) -> None:
        self.name = name  # datatrove's statistics take it from here
        super().__init__()
        self.folder, self.number = folder, number

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        layout = Layout(self.folder)
        recipe = layout.cleaning.recipe()
        step = make_step(self.name, recipe, layout, rank)
        folder = layout.step(self.number, self.name)
        told = 0
        with StepLog(folder, rank, keep_text=recipe.report.keep_text) as log:
            for item in data:
                texts = item.texts
                with self.track_time():
                    verdict = step.judge(item)
                if verdict.action == "changed" and item.has_lost_a_part(texts):
                    verdict = dropped("part_emptied", **verdict.detail)
                self.stat_update(verdict.action)
                other = ""
                if isinstance(step, Copies) and verdict.action == "dropped" and told < Copies.TEXTS:
                    other, told = step.text_of_other(), told + 1
                log.add(item, verdict, texts, other)
                if verdict.action != "dropped":
                    yield item
