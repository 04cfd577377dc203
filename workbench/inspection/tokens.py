"""What a tokenizer makes of a text, and what is in its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.inspection.opening import open_tokenizer
from workbench.inspection.pieces import Pieces

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

MOST_TOKENS = 20_000
"""No person reads more; the totals count all of them."""


def tokens(tokenizer: str | Mapping[str, Any], text: str, progress: Progress) -> dict[str, Any]:
    """The tokens of a text, framed as the tokenizer frames one."""
    opened = open_tokenizer(tokenizer, progress)
    pieces = Pieces(opened.backend)
    # JSON can spell halves of surrogate pairs, which are no text.
    text = text.encode("utf-8", "replace").decode()
    encoded = opened.backend.encode(text)
    own = [id for id, framed in zip(encoded.ids, encoded.special_tokens_mask, strict=True) if not framed]
    unknown = _unknown(opened.backend)
    size = len(text.encode())
    return {
        "tokenizer": opened.name,
        "vocab_size": pieces.size,
        "tokens": [
            {**pieces.entry(id), "start": start, "end": end}
            for id, (start, end) in zip(encoded.ids[:MOST_TOKENS], encoded.offsets[:MOST_TOKENS], strict=True)
        ],
        "num_tokens": len(encoded.ids),
        "frame_tokens": len(encoded.ids) - len(own),
        "unknown_tokens": sum(id == unknown for id in own),
        "num_bytes": size,
        "num_characters": len(text),
        "bytes_per_token": size / len(own) if own else None,
        "characters_per_token": len(text) / len(own) if own else None,
    }


def _unknown(backend: Any) -> int | None:
    token = getattr(backend.model, "unk_token", None)
    found: int | None = backend.token_to_id(token) if isinstance(token, str) else None
    return found


def vocabulary(
    tokenizer: str | Mapping[str, Any],
    progress: Progress,
    start: int = 0,
    count: int = 100,
    search: str = "",
) -> dict[str, Any]:
    """Entries in the order of their ids; with `search`, those whose piece or text contains it."""
    opened = open_tokenizer(tokenizer, progress)
    pieces = Pieces(opened.backend)
    ids = sorted(opened.backend.get_vocab(with_added_tokens=True).values())
    if search:
        ids = [id for id in ids if search in pieces.text(id) or search in pieces.piece(id)]
    return {
        "tokenizer": opened.name,
        "vocab_size": pieces.size,
        "found": len(ids),
        "start": start,
        "entries": [pieces.entry(id) for id in ids[start : start + count]],
    }
