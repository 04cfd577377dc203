"""What DPO holds and computes beside the policy: its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.models.estimate.activations import FLOAT

if TYPE_CHECKING:
    from workbench.models.estimate.parameters import Parameters
    from workbench.recipe import Recipe


def reference_in_memory(recipe: Recipe, parameters: Parameters) -> dict[str, int]:
    """Bytes of the reference while the policy learns: none where it was asked beforehand, or is what adapters
    stand on."""
    section = recipe.objective
    is_policy = recipe.tuning.is_adapter and section.ref_model_name_or_path is None
    return {} if section.precompute_ref_log_probs or is_policy else {"reference": FLOAT * parameters.total}


def note(recipe: Recipe) -> str:
    """What a person should know of the figures, in a line."""
    when = (
        "the reference is asked once, before the first step, which takes a third of an epoch"
        if recipe.objective.precompute_ref_log_probs
        else "the reference is held beside the policy and asked at every step, a third more than is reckoned"
    )
    return f"reckoned with 2 full rows a prompt; what both answers share of it is computed once: less. {when}"
