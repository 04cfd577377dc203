"""How many tokens a model can take at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.models.load import load_config
from workbench.models.rope_scaling import stretched_context

if TYPE_CHECKING:
    from workbench.recipe import ModelSection

# Families whose positions are counted from behind the padding id.
OFFSET_POSITIONS = ("roberta", "camembert", "xlm-roberta", "mpnet", "longformer")


def context_of(section: ModelSection) -> int | None:
    """Tokens of context of the recipe's model; None where positions are relative and have no end."""
    if section.model_name_or_path is None:
        relative = section.family in ("t5", "xlnet")
        return None if relative else section.context
    return context_of_config(load_config(section))


def context_of_config(config: Any) -> int | None:
    """The same, from a model's configuration."""
    config = config.get_text_config()
    if config.model_type in ("t5", "mt5", "xlnet"):
        return None
    context = int(getattr(config, "max_position_embeddings", 0) or 0)
    if config.model_type in OFFSET_POSITIONS:
        context -= int(config.pad_token_id or 0) + 1
    return stretched_context(config, context) if context > 0 else None
