"""What a preset file says: typed sections, overrides, presets that extend presets, the JSON Schema.

>>> recipe = load("nano", ["training.learning_rate=1e-3"])
>>> recipe.training.learning_rate
0.001
"""

from workbench.recipe.data_section import DataKind, DataSection, SourceSpec
from workbench.recipe.launch_section import LaunchSection
from workbench.recipe.load import (
    Preset,
    difference,
    dump,
    find_preset,
    list_presets,
    load,
    load_mapping,
    validate,
)
from workbench.recipe.model_section import ModelSection
from workbench.recipe.objective_section import ObjectiveSection
from workbench.recipe.ppo_section import PPOSection
from workbench.recipe.sections import Recipe, RunSection
from workbench.recipe.training_section import TrainingSection
from workbench.recipe.tuning_section import TuningSection

__all__ = [
    "DataKind",
    "DataSection",
    "LaunchSection",
    "ModelSection",
    "ObjectiveSection",
    "PPOSection",
    "Preset",
    "Recipe",
    "RunSection",
    "SourceSpec",
    "TrainingSection",
    "TuningSection",
    "difference",
    "dump",
    "find_preset",
    "list_presets",
    "load",
    "load_mapping",
    "validate",
]
