"""The vocabulary of a tokenizer as GGUF holds it: pieces, their kinds, merges or scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from gguf import TokenType

from workbench.errors import ModelError
from workbench.exporting.conversation import begins_special
from workbench.exporting.llama_cpp.pre_tokenizers import name_of
from workbench.exporting.llama_cpp.sentencepiece import Blanks, scores_of

NORMALIZERS = {"NFC"}
"""What llama.cpp leaves out, and changes no text that is composed already, as nearly all is."""


@dataclass
class Vocabulary:
    """`model` is `gpt2` (byte-level merges, `merges`) or `llama` (SentencePiece, `scores`); `pre` names how
    texts are cut into words; `space_first` whether a blank goes before each."""

    model: str
    pre: str
    pieces: list[str]
    kinds: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    space_first: bool = False
    notes: list[str] = field(default_factory=list)


def vocabulary_of(tokenizer: Any, size: int, where: str) -> Vocabulary:
    """The vocabulary, filled up to `size`, the rows of the embeddings.

    Raises `ModelError` for a tokenizer that llama.cpp has not.
    """
    content: dict[str, Any] = orjson.loads(tokenizer.backend_tokenizer.to_str())
    model = content["model"]
    if model["type"] != "BPE":
        raise ModelError(
            f"llama.cpp does not know this tokenizer: a {model['type']} model",
            where=where,
            hint="byte-level and SentencePiece's BPE can be written; --format safetensors takes every one",
        )
    if len(tokenizer) > size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer):,} entries, the model's embeddings {size:,} rows", where=where
        )
    pieces, kinds = _pieces(content, size, where)
    if model.get("byte_fallback"):
        found = scores_of(content, where)
        _mark_bytes(pieces, kinds, model.get("unk_token") or tokenizer.unk_token)
        vocabulary = Vocabulary("llama", "default", pieces, kinds)
        vocabulary.scores = [found.scores.get(piece, found.lowest) for piece in pieces]
        _put_blanks(vocabulary, found.blanks, tokenizer)
    else:
        pre = name_of(content, where)
        merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
        vocabulary = Vocabulary("gpt2", pre, pieces, kinds, merges=merges)
        vocabulary.notes += _check_byte_level(content, where)
    vocabulary.notes += _odd_tokens(content)
    return vocabulary


def _pieces(content: Mapping[str, Any], size: int, where: str) -> tuple[list[str], list[int]]:
    """The text of every id and its kind; ids that stand for nothing get names of their own."""
    known: dict[int, str] = {int(id): piece for piece, id in content["model"]["vocab"].items()}
    kinds: dict[int, TokenType] = dict.fromkeys(known, TokenType.NORMAL)
    for token in content["added_tokens"]:
        known[token["id"]] = token["content"]
        kinds[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    if max(known, default=-1) >= size:
        raise ModelError(
            f"the tokenizer gives ids up to {max(known):,}, the model knows {size:,}", where=where
        )
    taken = set(known.values())
    pieces = []
    for id in range(size):
        if id not in known:
            name = f"[PAD{id}]"
            while name in taken:
                name += "_"
            known[id], kinds[id] = name, TokenType.UNUSED
        pieces.append(known[id])
    return pieces, [int(kinds[id]) for id in range(size)]


def _mark_bytes(pieces: list[str], kinds: list[int], unknown: str | None) -> None:
    """SentencePiece's `<0x0A>` stand for bytes, and its unknown has a kind of its own."""
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    for id, piece in enumerate(pieces):
        if piece in bytes_:
            kinds[id] = int(TokenType.BYTE)
        elif piece == unknown:
            kinds[id] = int(TokenType.UNKNOWN)


def _put_blanks(vocabulary: Vocabulary, blanks: Blanks, tokenizer: Any) -> None:
    """llama.cpp puts a blank before every stretch of text between special tokens, or before none. Where the
    tokenizer does so at the beginning alone, conversations decide, which begin with a special token."""
    vocabulary.space_first = blanks is not Blanks.NEVER
    if blanks is Blanks.FIRST and begins_special(tokenizer):
        vocabulary.space_first = False
        vocabulary.notes.append("no blank is put before a text, as none is in a conversation")
    elif blanks in (Blanks.FIRST, Blanks.WHERE_NONE):
        vocabulary.notes.append(
            "llama.cpp puts a blank before each text and behind special tokens, this tokenizer "
            f"{blanks.value}"
        )


def _check_byte_level(content: Mapping[str, Any], where: str) -> list[str]:
    """Refuse what changes texts before they are cut up; a note on what hardly does."""
    model = content["model"]
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ModelError(f"llama.cpp does not know this tokenizer: {name}", where=where)
    normalizer = content.get("normalizer")
    steps = _normalizers(normalizer)
    odd = [step for step in steps if step not in NORMALIZERS]
    if odd:
        raise ModelError(
            f"llama.cpp does not know this tokenizer: it changes texts first ({', '.join(odd)})",
            where=where,
            hint="--format safetensors takes every tokenizer",
        )
    return [f"llama.cpp does not normalise texts ({', '.join(steps)}), this tokenizer does"] if steps else []


def _normalizers(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if found["type"] == "Sequence":
        return [step for inner in found["normalizers"] for step in _normalizers(inner)]
    return [str(found["type"])]


def _odd_tokens(content: Mapping[str, Any]) -> list[str]:
    """Tokens that take blanks beside them along, or are found in whole words alone, as they are not there."""
    names = ("lstrip", "rstrip", "single_word")
    odd = [token["content"] for token in content["added_tokens"] if any(token.get(name) for name in names)]
    if not odd:
        return []
    more = " …" if len(odd) > 3 else ""
    return [f"blanks beside {', '.join(odd[:3])}{more} are taken along here, and not in llama.cpp"]
