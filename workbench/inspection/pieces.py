"""Entries of a vocabulary as people read them: the text each stands for, and its bytes."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
BLANK = "\u2581"
"""How SentencePiece writes a blank."""


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level vocabularies (Radford et al. 2019): itself
    where it can be printed, else the next unused one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    hidden = [byte for byte in range(256) if byte not in printable]
    return table | {chr(0x100 + number): byte for number, byte in enumerate(hidden)}


class Pieces:
    """What each id of a tokenizer stands for. Bytes that are no whole character are shown as `\\xe4`."""

    def __init__(self, backend: Tokenizer) -> None:
        self.backend = backend
        self.added = backend.get_added_tokens_decoder()
        self.special = {id for id, token in self.added.items() if token.special}
        self._texts: dict[int, str] = {}

    @cached_property
    def _parts(self) -> str:
        """The kinds of decoders that the tokenizer's file names, one after another."""
        decoder: Any = orjson.loads(self.backend.to_str()).get("decoder") or {}
        kinds = [decoder, *decoder.get("decoders", ())]
        return " ".join(str(kind.get("type")) for kind in kinds)

    @cached_property
    def _alphabet(self) -> dict[str, int]:
        return _byte_alphabet()

    @cached_property
    def size(self) -> int:
        """Entries of the vocabulary, added tokens included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def piece(self, token: int) -> str:
        """The entry as the vocabulary writes it; what is in no vocabulary is `<id 12>`."""
        found = self.backend.id_to_token(token)
        return f"<id {token}>" if found is None else str(found)

    def raw(self, token: int) -> bytes:
        """The bytes of text that it stands for: UTF-8, or a part of it."""
        piece = self.piece(token)
        if token in self.added:
            return piece.encode()
        if "ByteLevel" in self._parts:
            known = [self._alphabet.get(character) for character in piece]
            if None not in known:
                return bytes(byte for byte in known if byte is not None)
        if "ByteFallback" in self._parts and (match := BYTE_PIECE.fullmatch(piece)):
            return bytes([int(match[1], 16)])
        if "WordPiece" in self._parts:
            # Words are written apart, but for the pieces that go on with one.
            return (piece[2:] if piece.startswith("##") else " " + piece).encode()
        return piece.replace(BLANK, " ").encode(errors="replace")

    def text(self, token: int) -> str:
        """The same as text."""
        if token not in self._texts:
            self._texts[token] = self.raw(token).decode(errors="backslashreplace")
        return self._texts[token]

    def entry(self, token: int) -> dict[str, Any]:
        """`id`, `piece`, `text`, `bytes` (how many), `hex` (which) and `special`."""
        raw = self.raw(token)
        return {
            "id": token,
            "piece": self.piece(token),
            "text": self.text(token),
            "bytes": len(raw),
            "hex": raw.hex(" "),
            "special": token in self.special,
        }
