"""How many tokens the data of a recipe holds: prepared as for training, into the cache that runs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.recipe import validate
from workbench.training.prepare import prepare_recipe
from workbench.training.starting_model import row_length

if TYPE_CHECKING:
    from workbench.prediction.events import Events


def corpus(request: dict[str, Any], events: Events) -> None:
    """Prepare the data of `recipe`. Sends `result`: `epoch_tokens` of all rows, `vocab_size`, and the report
    of the data."""
    recipe = validate(request["recipe"], request["where"])
    length = row_length(recipe, context_of(recipe.model))
    prepared = prepare_recipe(recipe, length, events.progress)
    objective = OBJECTIVES[recipe.objective.name](recipe, prepared.tokenizer)
    rows = objective.rows(prepared.train, length, training=True)
    events.send(
        "result",
        epoch_tokens=rows.rows_per_epoch(0) * length,
        vocab_size=len(prepared.tokenizer),
        report=prepared.report,
    )
