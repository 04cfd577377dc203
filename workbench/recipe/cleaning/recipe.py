"""All of a cleaning recipe: enough to clean again, to the byte."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from workbench.recipe.cleaning.content import (
    DecontaminationStep,
    ExactDuplicatesStep,
    NearDuplicatesStep,
    PIIStep,
    ToxicityStep,
)
from workbench.recipe.cleaning.quality import (
    BoilerplateStep,
    C4Step,
    FineWebStep,
    GopherQualityStep,
    GopherRepetitionStep,
    LanguageStep,
    NormaliseStep,
    StepSection,
)
from workbench.recipe.data_section import Sources, SourceSpec
from workbench.recipe.section import Section

StepName = Literal[
    "normalise",
    "language",
    "gopher_quality",
    "gopher_repetition",
    "c4",
    "fineweb",
    "boilerplate",
    "toxicity",
    "pii",
    "decontamination",
    "exact_duplicates",
    "near_duplicates",
]
STEP_NAMES: tuple[StepName, ...] = get_args(StepName)


class CleaningData(Section):
    """What is cleaned."""

    sources: Sources = Field(
        default_factory=lambda: [SourceSpec(path="stdlib:")],
        min_length=1,
        description="Where the records come from; all of one kind. Weights mean nothing here.",
    )


class ReportSection(Section):
    """What is told of the corpus afterwards."""

    diversity: bool = Field(True, description="Distinct n-grams, vocabulary, entropy, compression, lengths.")
    bias: bool = Field(
        True, description="Which words stand near which groups of people, with PMI and counts."
    )
    identity_terms: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Further groups, as name: [words]; a name that is known replaces it.",
    )
    attribute_terms: dict[str, list[str]] = Field(
        default_factory=dict, description="Further attributes, as name: [words]."
    )
    window: int = Field(10, ge=1, le=100, description="Words on each side that count as near.")
    min_count: int = Field(5, ge=1, description="Pairs seen more seldom are not told of.")
    keep_text: bool | Literal["none"] = Field(
        True,
        description="Keep the text of every dropped and changed record, before and after; false: of the "
        "first hundred of each shard; none: of no record. The place and reason of all are kept.",
    )

    @field_validator("identity_terms", "attribute_terms")
    @classmethod
    def _single_words(cls, groups: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, words in groups.items():
            if wrong := [word for word in words if len(re.findall(r"[^\W_]+", word)) != 1]:
                raise ValueError(f"“{wrong[0]}” of {name} is not a single word, and only such are counted")
        return groups


class OutputSection(Section):
    """What is written."""

    format: Literal["parquet", "jsonl"] = Field("parquet", description="Format of the shards.")
    folder: str | None = Field(
        None, description="Where the result goes. Empty: `result` in the folder of the cleaning."
    )
    add_columns: list[Literal["source", "where", "language"]] = Field(
        default_factory=list,
        description="Columns that tell of each record where it came from, and its language.",
    )
    licence: str = Field("", description="Licence of the result, for the card; it is yours to know.")
    licences: dict[str, str] = Field(
        default_factory=dict, description="Licence of each source, by its path, for the card."
    )
    title: str = Field("", description="Title of the card. Empty: the name.")


class ExecutorSection(Section):
    """On what it runs. The result is the same on all of them, with any number of workers."""

    kind: Literal["local", "slurm", "ray"] = Field(
        "local", description="This machine, Slurm, or a Ray cluster."
    )
    workers: int | None = Field(
        None, ge=1, description="Tasks at once. Empty: the cores of this machine; no limit on a cluster."
    )
    shard_megabytes: float = Field(
        64, gt=0, description="Input of a task. Part of what decides the order of the result, unlike workers."
    )
    memory_megabytes: int = Field(
        512,
        ge=16,
        description="What the search for copies may hold at once in each task; more passes below it.",
    )
    partition: str = Field("", description="slurm: the partition.")
    time: str = Field("12:00:00", description="slurm: time limit of a task.")
    cpus_per_task: int = Field(1, ge=1, description="slurm and ray: CPUs of a task.")
    mem_per_cpu_gb: int = Field(4, ge=1, description="slurm and ray: memory of a CPU.")
    qos: str = Field("", description="slurm: quality of service.")
    env_command: str = Field("", description="slurm: shell line before each task. Empty: this Python's PATH.")
    sbatch_args: dict[str, str] = Field(default_factory=dict, description="slurm: further #SBATCH options.")
    address: str = Field("", description="ray: the cluster's address. Empty: start one here.")
    poll_seconds: float = Field(5, gt=0, description="slurm: how often the queue is asked.")


class CleaningRun(Section):
    """What the cleaning is called."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Name of the cleaning and its folder. Empty: the preset and a number.",
    )
    seed: int = Field(0, ge=0, description="Of the hash functions, and of what is drawn for examples.")


def _executor(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Executor = Annotated[ExecutorSection, BeforeValidator(_executor)]


class CleaningRecipe(Section):
    """Sources, steps and output."""

    run: CleaningRun = Field(default_factory=CleaningRun, description="Name and seed.")
    data: CleaningData = Field(default_factory=CleaningData, description="What is cleaned.")
    order: list[StepName] = Field(
        default_factory=lambda: list(STEP_NAMES),
        description="The steps in the order in which they are taken; what it leaves out is not.",
    )
    normalise: NormaliseStep = Field(default_factory=NormaliseStep, description="Spelling of characters.")
    language: LanguageStep = Field(default_factory=LanguageStep, description="Language identification.")
    gopher_quality: GopherQualityStep = Field(
        default_factory=GopherQualityStep, description="Gopher's rules."
    )
    gopher_repetition: GopherRepetitionStep = Field(
        default_factory=GopherRepetitionStep, description="Gopher's rules of repetition."
    )
    c4: C4Step = Field(default_factory=C4Step, description="C4's rules.")
    fineweb: FineWebStep = Field(default_factory=FineWebStep, description="FineWeb's rules.")
    boilerplate: BoilerplateStep = Field(default_factory=BoilerplateStep, description="Recurring lines.")
    toxicity: ToxicityStep = Field(default_factory=ToxicityStep, description="Abuse.")
    pii: PIIStep = Field(default_factory=PIIStep, description="Personal data.")
    decontamination: DecontaminationStep = Field(
        default_factory=DecontaminationStep, description="Evaluation sets."
    )
    exact_duplicates: ExactDuplicatesStep = Field(default_factory=ExactDuplicatesStep, description="Copies.")
    near_duplicates: NearDuplicatesStep = Field(
        default_factory=NearDuplicatesStep, description="Near copies."
    )
    report: ReportSection = Field(default_factory=ReportSection, description="What is told afterwards.")
    output: OutputSection = Field(default_factory=OutputSection, description="What is written.")
    executor: Executor = Field(default_factory=ExecutorSection, description="On what it runs.")

    @model_validator(mode="after")
    def _fits_together(self) -> CleaningRecipe:
        twice = sorted({name for name in self.order if self.order.count(name) > 1})
        if twice:
            raise ValueError(f"order names {', '.join(twice)} twice")
        if self.executor.kind == "slurm" and not self.executor.partition:
            raise ValueError("executor.kind slurm needs executor.partition")
        if "name" not in self.pii.kinds and self.pii.name_model:
            raise ValueError("pii.name_model is set, but pii.kinds does not have `name`")
        return self

    def step(self, name: StepName) -> StepSection:
        """The settings of a step."""
        section: StepSection = getattr(self, name)
        return section

    def steps(self) -> list[StepName]:
        """The steps that are taken, in their order; decontamination only with something to look for."""
        return [name for name in self.order if self.step(name).enabled and self._has_work(name)]

    def _has_work(self, name: StepName) -> bool:
        return name != "decontamination" or bool(self.decontamination.eval_sources)
