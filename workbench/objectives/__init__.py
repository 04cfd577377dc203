"""Objectives: what a batch is and what its loss is, one file each.

To add one, write its class beside `clm.py`, enter it in `OBJECTIVES` and name it in the recipe's
objective section.
"""

from workbench.objectives.base import LossOutput, Objective
from workbench.objectives.clm import CausalLanguageModeling

OBJECTIVES: dict[str, type[Objective]] = {"clm": CausalLanguageModeling}

__all__ = ["OBJECTIVES", "CausalLanguageModeling", "LossOutput", "Objective"]
