"""The label inspector: rows of a recipe exactly as the objective will see them, made by the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from workbench.errors import DataError, UsageError
from workbench.inspection.opening import recipe_of
from workbench.inspection.pieces import Pieces
from workbench.inspection.predicted import by_what_is_predicted
from workbench.inspection.rows import row_of
from workbench.inspection.totals import histogram, left_out, lengths_of, state_counts, summary
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.objectives.clm import CausalLanguageModeling
from workbench.training.prepare import prepare_recipe
from workbench.training.starting_model import row_length

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress
    from workbench.objectives import Objective, Rows
    from workbench.recipe import Recipe

MOST_PLACES = 1 << 18
"""Places of a page, so that an answer stays within some tens of megabytes."""

SHARED_PROMPTS = {
    "reward": "Each answer is shown behind its prompt, and counted so. A run asks the model when it begins "
    "whether a prompt can be computed once for all its answers, and does that where it can: the scores are "
    "the same, and there is no padding.",
    "dpo": "A prompt is shown once before all its answers, and counted so, as a run computes it. For a model "
    "that cannot (a run asks it when it begins) each answer stands behind its prompt.",
}
"""Of objectives whose rows a run may write in another form, which only the model decides: what is shown."""


@dataclass(frozen=True)
class _Open:
    """One side of a recipe's data, ready to show any of its rows."""

    objective: Objective
    rows: Rows
    lengths: NDArray[np.int64]
    pieces: Pieces
    report: dict[str, Any]


_last: dict[tuple[bytes, str, str], _Open] = {}
"""What was opened last, by recipe, data and side: someone who pages asks for the same again."""


def batch(
    recipe: Mapping[str, Any],
    progress: Progress,
    side: Literal["train", "eval"] = "train",
    start: int = 0,
    count: int = 4,
) -> dict[str, Any]:
    """`count` rows of one side from row `start` of the first epoch on, and what concerns all; `form` says how
    a run may write them otherwise than they are shown, or nothing.

    Raises what training would: `RecipeError`, `DataError`, `ModelError`.
    """
    checked = recipe_of(recipe)
    if side not in ("train", "eval"):
        raise UsageError(f"there is no side “{side}”", hint="train or eval")
    length = row_length(checked, context_of(checked.model))
    prepared = prepare_recipe(checked, length, progress)
    opened = _open(checked, prepared, length, side)
    total = _total(opened, side)
    if not 0 <= start < total:
        raise UsageError(f"there is no row {start:,}", hint=f"rows are 0 to {total - 1:,}")
    count = max(1, min(count, total - start, MOST_PLACES // max(1, length)))
    made = opened.objective.view(opened.rows.batch(start, count))
    if isinstance(opened.objective, CausalLanguageModeling):
        special = set(prepared.tokenizer.all_special_ids)
        made = [by_what_is_predicted(view, special) for view in made]
    return {
        "objective": checked.objective.name,
        "side": side,
        "start": start,
        "length": length,
        "rows_per_epoch": total,
        "form": SHARED_PROMPTS.get(checked.objective.name, ""),
        "rows": [row_of(view, start + number, opened.pieces) for number, view in enumerate(made)],
        "states": state_counts(made),
        "report": opened.report,
        "left_out": left_out(prepared.report, opened.report),
        "data": prepared.report,
        "labels": prepared.report.get("label_counts", {}),
        "lengths": histogram(opened.lengths),
        "length_summary": summary(opened.lengths),
    }


def _open(recipe: Recipe, prepared: Any, length: int, side: str) -> _Open:
    key = (orjson.dumps(recipe.model_dump(mode="json")), prepared.key, side)
    if key not in _last:
        objective = OBJECTIVES[recipe.objective.name](recipe, prepared.tokenizer)
        # Training rows are asked for too, as in training: an objective may learn from them what is common.
        rows, store = objective.rows(prepared.train, length, training=True), prepared.train
        if side == "eval":
            rows, store = objective.rows(prepared.eval, length, training=False), prepared.eval
        _last.clear()
        pieces = Pieces(prepared.tokenizer.backend_tokenizer)
        _last[key] = _Open(objective, rows, lengths_of(store), pieces, _report(rows))
    return _last[key]


def _report(rows: Rows) -> dict[str, Any]:
    try:
        return rows.report()
    except (DataError, ZeroDivisionError):
        return {}  # a side without a row has nothing to tell


def _total(opened: _Open, side: str) -> int:
    total = opened.rows.rows_per_epoch(0)
    if total:
        return total
    raise DataError(
        f"the {'held-out' if side == 'eval' else 'training'} text gives not one row",
        where="data.eval_fraction" if side == "eval" else "data.sources",
        hint="raise data.eval_fraction, or name data.eval_sources" if side == "eval" else "add text",
    )
