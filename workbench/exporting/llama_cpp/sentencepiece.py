"""SentencePiece's BPE (Kudo & Richardson 2018) as Llama 2 has it: merges here, scores in llama.cpp.

llama.cpp joins the two neighbours that make the piece with the highest score, whatever they are. The order of
merges says the same exactly where every way to make a piece stands together in it, as it does in what was
converted from SentencePiece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from workbench.errors import ModelError

SPACE = "▁"


class Blanks(Enum):
    """When a blank goes before a stretch of text between special tokens."""

    NEVER = "never"
    ALWAYS = "always"
    """As in llama.cpp with `add_space_prefix`."""
    WHERE_NONE = "where none stands there already"
    FIRST = "where none stands there already, and the text begins"


@dataclass
class Scores:
    """The score of every piece that merges make, and `lowest` for all others."""

    scores: dict[str, float]
    lowest: float
    blanks: Blanks


def scores_of(content: Mapping[str, Any], where: str) -> Scores:
    """Scores from the merges of a `tokenizer.json`. Raises `ModelError` for those of another kind."""
    model = content["model"]
    blanks = _blanks(content, where)
    if model.get("ignore_merges") or not model.get("fuse_unk", True):
        raise _other("it has a BPE of another kind", where)
    merges = [tuple(pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in model["merges"]]
    ranks: dict[str, int] = {}
    last = ""
    for rank, (left, right) in enumerate(merges):
        piece = left + right
        if piece != last and piece in ranks:
            raise _other(f"the merges that make “{piece}” do not stand together", where)
        ranks.setdefault(piece, rank)
        last = piece
    _check_complete(model["vocab"], set(merges), where)
    return Scores({piece: -float(rank) for piece, rank in ranks.items()}, -float(len(merges)), blanks)


def _check_complete(vocabulary: Mapping[str, int], merges: set[tuple[str, ...]], where: str) -> None:
    for piece in vocabulary:
        if piece.startswith("<0x"):
            continue
        for left, right in _halves(piece):
            if left in vocabulary and right in vocabulary and (left, right) not in merges:
                raise _other(f"“{left}” and “{right}” are never joined, and llama.cpp would join them", where)


def _halves(piece: str) -> Iterator[tuple[str, str]]:
    for place in range(1, len(piece)):
        yield piece[:place], piece[place:]


def _blanks(content: Mapping[str, Any], where: str) -> Blanks:
    """How blanks are put before texts; they become `▁`, and nothing else happens to a text."""
    before = Blanks.NEVER
    for step in [*_flat(content.get("normalizer"), "normalizers"), *_flat(content.get("pre_tokenizer"), "")]:
        kind = step["type"]
        if kind == "Prepend" and step.get("prepend") == SPACE:
            before = Blanks.ALWAYS
        elif kind == "Metaspace" and step.get("replacement") == SPACE and not step.get("split", True):
            scheme = step.get("prepend_scheme", "always")
            before = {"never": before, "first": Blanks.FIRST}.get(scheme, Blanks.WHERE_NONE)
        elif kind != "Replace" or step.get("pattern") != {"String": " "} or step.get("content") != SPACE:
            raise _other(f"it changes texts first ({kind})", where)
    return before


def _flat(found: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    if found is None:
        return []
    if found["type"] == "Sequence":
        return [step for part in found[inner or "pretokenizers"] for step in _flat(part, inner)]
    return [found]


def _other(what: str, where: str) -> ModelError:
    return ModelError(
        f"llama.cpp does not know this tokenizer: {what}",
        where=where,
        hint="--format safetensors takes every tokenizer",
    )
