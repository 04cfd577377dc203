"""Forwarding metrics to TensorBoard, W&B, MLflow or Trackio, through Accelerate's trackers."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from workbench.errors import MissingExtraError
from workbench.installing import pip_install_extra
from workbench.recipe.load import flatten

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workbench.recipe import Recipe


def check_trackers(names: list[str]) -> None:
    """Raise `MissingExtraError` for a tracker whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"run.report_to names {name}, which is not installed",
                hint=f"{pip_install_extra(name)}, or take {name} out of run.report_to",
            )


def start_trackers(accelerator: Accelerator, recipe: Recipe) -> None:
    """Open the trackers with the recipe as their configuration."""
    if not recipe.run.report_to:
        return
    flat = flatten(recipe.model_dump(mode="json"))
    # TensorBoard takes numbers, booleans and words only.
    config = {
        key: value if isinstance(value, (int, float, bool, str)) else str(value)
        for key, value in flat.items()
    }
    accelerator.init_trackers(recipe.run.name or "workbench", config=config)
