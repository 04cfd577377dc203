"""Prompts that a run never learned from: what was asked in the records that its recipe holds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.data.records.dividing import divide
from workbench.data.records.side import KINDS_OF, read_side
from workbench.errors import DataError
from workbench.inspection.opening import recipe_of

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

GIVE = "give the prompts: workbench rank new --run RUN --prompts FILE"


def held_out(recipe: Mapping[str, Any], progress: Progress, count: int = 100) -> dict[str, Any]:
    """Up to `count` `prompts` of the held-out side, as `{"prompt": text or messages, "tools": …}`, each once;
    `of` is how many records are held out.

    The split is that of training, made by its code. Raises `DataError` where the objective learns from no
    records with prompts, or nothing is held out.
    """
    checked = recipe_of(recipe)
    objective = checked.objective.name
    if objective not in KINDS_OF:
        raise DataError(f"what a run of {objective} learned from are texts, not prompts", hint=GIVE)
    data = checked.data
    own = read_side(data.eval_sources, objective, progress)
    _, side, _, _ = divide(
        read_side(data.sources, objective, progress), own, data, objective, checked.training.seed
    )
    prompts: list[dict[str, Any]] = []
    for record in side.records:
        prompt = _asked(record)
        if prompt is not None and prompt not in prompts:
            prompts.append(prompt)
        if len(prompts) == count:
            break
    if not prompts:
        raise DataError("the recipe holds no prompts out", where="data.eval_fraction", hint=GIVE)
    return {"prompts": prompts, "of": len(side.records)}


def _asked(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What stands before the last answer; None where a record is running text."""
    content: str | Sequence[Mapping[str, Any]]
    if "messages" in record:
        messages = record["messages"]
        last = max(
            (n for n, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages)
        )
        content = messages[:last]
    elif "prompt" in record:
        content = record["prompt"]
    else:
        return None
    return {"prompt": content, "tools": list(record.get("tools") or ())} if content else None
