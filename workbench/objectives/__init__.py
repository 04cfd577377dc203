"""Objectives: what a batch is and what its loss is, one file each.

To add one, write its class beside `clm.py`, enter it in `OBJECTIVES` and name it in
`workbench.recipe.families`.
"""

from workbench.objectives.base import Batch, LossOutput, Objective, Rows, Totals
from workbench.objectives.classification import Classification
from workbench.objectives.clm import CausalLanguageModeling
from workbench.objectives.denoise import Denoising
from workbench.objectives.dpo import DirectPreferenceOptimization
from workbench.objectives.mlm import MaskedLanguageModeling
from workbench.objectives.plm import PermutationLanguageModeling
from workbench.objectives.prompted import PromptedPolicy
from workbench.objectives.regression import Regression
from workbench.objectives.reward import RewardModeling
from workbench.objectives.rtd import ReplacedTokenDetection
from workbench.objectives.sft import SupervisedFineTuning
from workbench.objectives.span_extraction import SpanExtraction
from workbench.objectives.tagging import Tagging

OBJECTIVES: dict[str, type[Objective]] = {
    "clm": CausalLanguageModeling,
    "sft": SupervisedFineTuning,
    "reward": RewardModeling,
    "dpo": DirectPreferenceOptimization,
    "ppo": PromptedPolicy,
    "mlm": MaskedLanguageModeling,
    "plm": PermutationLanguageModeling,
    "rtd": ReplacedTokenDetection,
    "denoise": Denoising,
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "span_extraction": SpanExtraction,
}

__all__ = ["OBJECTIVES", "Batch", "CausalLanguageModeling", "LossOutput", "Objective", "Rows", "Totals"]
