"""What a recipe of cleaning says: sources, steps in their order, output, and on what it runs.

>>> recipe = load_cleaning("web", ["near_duplicates.threshold=0.8"])
>>> recipe.near_duplicates.threshold
0.8
"""

from workbench.recipe.cleaning.load import (
    PRESETS,
    complete_cleaning,
    load_cleaning,
    read_cleaning,
    validate_cleaning,
)
from workbench.recipe.cleaning.recipe import STEP_NAMES, CleaningRecipe, StepName

__all__ = [
    "PRESETS",
    "STEP_NAMES",
    "CleaningRecipe",
    "StepName",
    "complete_cleaning",
    "load_cleaning",
    "read_cleaning",
    "validate_cleaning",
]
