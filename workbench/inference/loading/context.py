"""How many tokens a model takes."""

from __future__ import annotations

from typing import Any

from workbench.models.context import context_of_config

OTHER_NAMES = {
    False: ("max_decoder_position_embeddings", "max_seq_len"),
    True: ("max_encoder_position_embeddings",),
}
"""What LED and MPT call it."""
ENDLESS = 1 << 20
"""Where positions are relative and the model sets no end."""


def context_of(config: Any, *, encoder: bool = False) -> int:
    """Tokens that a sequence may hold; with `encoder`, what the encoder of an encoder–decoder takes."""
    part = config.get_text_config(encoder=True) if encoder else config.get_text_config(decoder=True)
    found = context_of_config(part)
    for name in OTHER_NAMES[encoder]:
        found = found or getattr(part, name, None)
    return found or ENDLESS
