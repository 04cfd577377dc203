"""How many tokens a model takes."""

from __future__ import annotations

from typing import Any

from workbench.models.context import context_of_config

OTHER_NAMES = ("max_decoder_position_embeddings", "max_seq_len")
"""What LED and MPT call it."""
ENDLESS = 1 << 20
"""Where positions are relative and the model sets no end."""


def context_of(config: Any) -> int:
    """Tokens that a sequence may hold."""
    config = config.get_text_config(decoder=True)
    found = context_of_config(config)
    for name in OTHER_NAMES:
        found = found or getattr(config, name, None)
    return found or ENDLESS
