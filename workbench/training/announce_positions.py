"""What a run that stretches its positions should know: how many of its tokens stand where they are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.models.load import load_config
from workbench.models.rope_scaling import extension_of, in_words

if TYPE_CHECKING:
    from workbench.recipe import Recipe

ROWS = 64
"""First rows of an epoch that are looked at."""


def position_lines(recipe: Recipe, rows: Any) -> list[str]:
    """How the positions are stretched, and the share of tokens behind the trained length: none are trained
    there where rows, or the documents in them, are short. Nothing where positions are as they were."""
    section = recipe.model
    if section.rope_extension is None or section.rope_extension.factor == 1:
        return []
    if section.model_name_or_path is None:
        trained: int = section.original_max_position_embeddings or section.max_position_embeddings
        told = f"positions  {section.rope_scaling} ×{section.rope_factor:g} from {trained:,} tokens"
    else:
        extension = extension_of(load_config(section)) or {}
        trained = int(extension["original_max_position_embeddings"])
        told = f"positions  {in_words(extension)}"
    positions = rows.batch(0, ROWS).arrays.get("position_ids")
    if positions is None:
        return [told]
    share = float((positions >= trained).mean())
    if share:
        return [f"{told}; {share:.0%} of the tokens stand behind them"]
    return [
        f"{told}, and no token stands behind them: longer rows (data.max_length), longer documents, or "
        "data.isolate_documents=false"
    ]
