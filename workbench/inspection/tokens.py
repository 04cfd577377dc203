"""What a tokenizer makes of a text, and what is in its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.errors import UsageError
from workbench.inspection.opening import open_tokenizer
from workbench.inspection.pieces import Pieces

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

MOST_TOKENS = 20_000
"""No person reads more; the totals count all of them."""


def tokens(
    text: str, progress: Progress, tokenizer: str | None = None, recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The tokens of a text, framed as the tokenizer frames one: a recipe's, or one named."""
    opened = open_tokenizer(_either(tokenizer, recipe), progress)
    pieces = Pieces(opened.backend)
    # JSON can spell halves of surrogate pairs, which are no text.
    text = text.encode("utf-8", "replace").decode()
    encoded = opened.backend.encode(text)
    own = [id for id, framed in zip(encoded.ids, encoded.special_tokens_mask, strict=True) if not framed]
    unknown = unknown_id(opened.backend)
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


def unknown_id(backend: Any) -> int | None:
    """The id of the token for what the vocabulary cannot write, where it has one."""
    token = getattr(backend.model, "unk_token", None)
    found: int | None = backend.token_to_id(token) if isinstance(token, str) else None
    return found


def _either(tokenizer: str | None, recipe: Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    given = recipe if tokenizer is None else tokenizer
    if given is None:
        raise UsageError("neither a tokenizer nor a recipe is named")
    return given


def vocabulary(
    progress: Progress,
    tokenizer: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    start: int = 0,
    count: int = 100,
    search: str = "",
) -> dict[str, Any]:
    """Entries in the order of their ids; with `search`, those whose piece or text contains it."""
    opened = open_tokenizer(_either(tokenizer, recipe), progress)
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
