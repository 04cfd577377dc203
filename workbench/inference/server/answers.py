"""Pieces of answers in the protocol's form."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from workbench.inference.engine.requests import TokenInfo
from workbench.inference.engine.text import Detokenizer


def new_id(kind: str) -> str:
    """A name for an answer, such as `chatcmpl-…`."""
    return f"{kind}-{uuid.uuid4().hex}"


def now() -> int:
    """The time as the protocol counts it."""
    return int(time.time())


def usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    """Tokens read and written."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


class TokenNames:
    """Tokens as the text and the bytes that they stand for."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def text(self, token: int) -> str:
        """The token by itself as text, with its blank if it begins a word; part of a character is U+FFFD."""
        text: str = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if isinstance(piece, str) and piece.startswith("▁") and not text.startswith(" "):
            return f" {text}"
        return text

    def bytes(self, token: int) -> list[int]:
        """The bytes of a token, also where it is a part of a character only."""
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if isinstance(piece, str):
            if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
                return [int(piece[3:5], 16)]
            if "\ufffd" in self.text(token) and all(char in _BYTE_OF for char in piece):
                return [_BYTE_OF[char] for char in piece]
        return list(self.text(token).encode())


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level BPE writes bytes with (Radford et al. 2019): printable ones stand for
    themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + place): byte for place, byte in enumerate(others)})
    return alphabet


_BYTE_OF = _byte_alphabet()


def chat_logprobs(tokens: list[TokenInfo], names: TokenNames) -> dict[str, Any]:
    """`logprobs` of a chat's choice."""

    def entry(token: int, logprob: float | None) -> dict[str, Any]:
        return {"token": names.text(token), "logprob": _finite(logprob), "bytes": names.bytes(token)}

    return {
        "content": [
            {**entry(token.id, token.logprob), "top_logprobs": [entry(*rival) for rival in token.top]}
            for token in tokens
        ],
        "refusal": None,
    }


class CompletionLogprobs:
    """`logprobs` of a completion's choice, in one piece or in several.

    A token that is a part of a character is called `bytes:\\xe2`, so that it is no other's equal; such parts
    all begin where their character does. `before` are tokens before the text, which count as none of it.
    """

    def __init__(
        self, names: TokenNames, decode: Callable[[list[int]], str], before: Sequence[int] = ()
    ) -> None:
        self._names = names
        self._detokenizer = Detokenizer(decode, before)
        self._offset = 0

    def of(self, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """What is told of the tokens that come next."""
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(self._detokenizer.add(token.id))
        return {
            "tokens": [self._name(token.id) for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [
                {self._name(rival): _finite(value) for rival, value in token.top} if token.top else None
                for token in tokens
            ],
            "text_offset": offsets,
        }

    def _name(self, token: int) -> str:
        text = self._names.text(token)
        if "\ufffd" not in text:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self._names.bytes(token))


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; a token that cannot come is as good as one with e⁻⁹⁹⁹⁹."""
    return None if value is None else max(value, -9999.0)
