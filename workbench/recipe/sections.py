"""The sections of a recipe. Every field carries its help, shown by the form, the schema and the README."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench.recipe.data_section import DataSection
from workbench.recipe.families import FAMILIES
from workbench.recipe.launch_section import LaunchSection
from workbench.recipe.model_section import ModelSection
from workbench.recipe.objective_section import ObjectiveSection
from workbench.recipe.parallel_section import ParallelSection, check_parallel
from workbench.recipe.ppo_section import PPOSection, check_ppo
from workbench.recipe.section import Section
from workbench.recipe.stability_section import StabilitySection, check_stability
from workbench.recipe.training_section import TrainingSection
from workbench.recipe.tuning_section import TuningSection, check_tuning

RUN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class RunSection(Section):
    """What the run is called and who else hears of it."""

    name: str | None = Field(
        None,
        pattern=RUN_NAME_PATTERN,
        description="Name of the run and of its folder; made from the preset and a number when empty.",
    )
    description: str = Field("", description="A line for yourself: what this run is meant to find out.")
    report_to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(
        default_factory=list,
        description="Trackers that get the metrics too, through Accelerate. The run folder always does.",
    )


class Recipe(Section):
    """All of a run: enough to run it again."""

    run: RunSection = Field(default_factory=RunSection, description="Name and trackers.")
    model: ModelSection = Field(default_factory=ModelSection, description="The model.")
    data: DataSection = Field(default_factory=DataSection, description="The data.")
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection, description="The objective.")
    tuning: TuningSection = Field(default_factory=TuningSection, description="Which weights learn.")
    ppo: PPOSection = Field(default_factory=PPOSection, description="PPO, RLOO and GRPO.")
    training: TrainingSection = Field(default_factory=TrainingSection, description="The optimisation.")
    stability: StabilitySection = Field(
        default_factory=StabilitySection, description="Alarms, rollback, z-loss, notification."
    )
    launch: LaunchSection = Field(default_factory=LaunchSection, description="Processes and devices.")
    parallel: ParallelSection = Field(
        default_factory=ParallelSection, description="How model and data are split over the processes."
    )

    @property
    def data_ranks(self) -> int:
        """Groups of processes that read different rows, on all machines."""
        return self.parallel.degrees(self.launch.world_size).data_size

    @property
    def rows_per_step(self) -> int:
        """Rows that all processes together read for one optimiser step."""
        section = self.training
        return section.per_device_train_batch_size * section.gradient_accumulation_steps * self.data_ranks

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        length, context = self.data.max_length, self.model.context
        if not self.model.model_name_or_path and length and length > context:
            name = "the stretched context" if self.model.rope_scaling else "model.max_position_embeddings"
            raise ValueError(
                f"data.max_length {length} is longer than {name} {context}; "
                "make the rows shorter or the context longer"
            )
        self._objective_fits()
        return self

    def _objective_fits(self) -> None:
        name, section = self.objective.name, self.model
        if not section.model_name_or_path and name not in section.about.trained_by:
            fitting = [family.name for family in FAMILIES.values() if name in family.trained_by]
            raise ValueError(
                f"objective.name {name} does not train a model.family {section.family}, "
                f"which is trained by {' or '.join(section.about.trained_by)}; "
                f"families for {name}: {', '.join(fitting)}"
            )
        if self.objective.next_sentence_prediction and name == "mlm" and section.family != "bert":
            raise ValueError("objective.next_sentence_prediction needs model.family bert")
        check_tuning(self)
        check_stability(self)
        if name == "ppo":
            check_ppo(self)
        check_parallel(self)
