"""What a preset file says: typed sections, overrides, presets that extend presets, the JSON Schema.

>>> recipe = load("nano", ["training.learning_rate=1e-3"])
>>> recipe.training.learning_rate
0.001
"""

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
from workbench.recipe.sections import (
    DataSection,
    LaunchSection,
    ModelSection,
    ObjectiveSection,
    Recipe,
    RunSection,
    SourceSpec,
    TrainingSection,
    TuningSection,
)

__all__ = [
    "DataSection",
    "LaunchSection",
    "ModelSection",
    "ObjectiveSection",
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
