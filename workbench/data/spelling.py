"""What messages say is data: the text of a special token in it is read as text, never as the token.

The chat template is rendered with placeholders where a message spells a special token out, so what is still
a special token then comes from the template. A second tokenizer, in which all special tokens have secret
names, reads the template's tokens by those names and everything else as text, in one go, so that it
cuts at the same places as the model's own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import orjson
from tokenizers import Tokenizer

Ids = list[int]


class SpellingError(Exception):
    """Special tokens cannot be told from their text; why."""


class Spelling:
    """Knows the special tokens of one tokenizer, by text and id. May be used from several threads."""

    def __init__(self, tokenizer: Any, special: Mapping[str, int]) -> None:
        self._tokenizer = tokenizer
        self._special = dict(special)
        self._secret = secrets.token_hex(8)
        # The longest first, as tokenizers prefer it.
        texts = sorted((re.escape(text) for text in special if text), key=len, reverse=True)
        self._token = re.compile("|".join(texts) or r"(?!)")
        # More than is read as a token, which does no harm.
        self._anything_like_it = re.compile(self._token.pattern, re.IGNORECASE)
        self._placeholder = re.compile(rf"x{self._secret}n(\d+)x")
        self._lock = Lock()

    def hide(self, value: Any, hidden: list[str]) -> Any:
        """The value with a placeholder for each special token spelt out in its strings, at any depth; the
        texts they stand for are added to `hidden`."""
        if isinstance(value, str):

            def placeholder(match: re.Match[str]) -> str:
                hidden.append(match.group())
                return f"x{self._secret}n{len(hidden) - 1}x"

            return self._anything_like_it.sub(placeholder, value)
        if isinstance(value, Mapping):
            return {self.hide(key, hidden): self.hide(entry, hidden) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(entry, hidden) for entry in value]
        return value

    def shown(self, text: str, hidden: list[str]) -> str:
        """A text with what its placeholders stand for."""
        return self._placeholder.sub(lambda match: hidden[int(match.group(1))], text)

    def ids(self, text: str, hidden: list[str], plain: Callable[[str], Ids]) -> Ids:
        """The token ids of a rendered text with placeholders; `plain` is the model's own tokenizer.

        Raises `SpellingError` when the second tokenizer cannot be made, or reads even the text with its
        placeholders otherwise.
        """
        return self.placed(text, hidden, plain, ())[0]

    def placed(
        self, text: str, hidden: list[str], plain: Callable[[str], Ids], points: Sequence[int]
    ) -> tuple[Ids, list[tuple[int, int]], list[int]]:
        """The ids as well, where each token begins and ends, and where places of the text (none inside a
        special token or a placeholder) are among these."""
        tokenizer = self._renamed()

        def named(one: str) -> str:
            return self._token.sub(lambda match: self._name(match.group()), one)

        if list(tokenizer.encode(named(text), add_special_tokens=False).ids) != plain(text):
            raise SpellingError("its tokenizer does not work alike with other names of special tokens")
        found = tokenizer.encode(self.shown(named(text), hidden), add_special_tokens=False)
        moved = [len(self.shown(named(text[:point]), hidden)) for point in points]
        return list(found.ids), list(found.offsets), moved

    def _name(self, token: str) -> str:
        """The secret name: of plain characters, which no normalizer changes."""
        return f"<{self._secret}-{self._special[token]}>"

    def _renamed(self) -> Tokenizer:
        with self._lock:
            made = self._made
        if isinstance(made, SpellingError):
            raise made
        return made

    @cached_property
    def _made(self) -> Tokenizer | SpellingError:
        own = getattr(self._tokenizer, "backend_tokenizer", None)
        if not isinstance(own, Tokenizer):
            return SpellingError("its tokenizer is not of the kind that can be copied")
        told = orjson.loads(own.to_str())
        told |= {"post_processor": None, "truncation": None, "padding": None}
        for token in told["added_tokens"]:
            if token["special"]:
                token["content"] = self._name(token["content"])
        model = told["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {self._in_model(piece): number for piece, number in model["vocab"].items()}
        else:
            model["vocab"] = [[self._in_model(piece), score] for piece, score in model["vocab"]]
        if model.get("unk_token") is not None:
            model["unk_token"] = self._in_model(model["unk_token"])
        try:
            made = Tokenizer.from_str(orjson.dumps(told).decode())
        except Exception as error:
            # Whatever the library finds in it, it says in a plain Exception.
            return SpellingError(f"its tokenizer cannot be copied ({error})")
        if any(made.token_to_id(self._name(token)) != number for token, number in self._special.items()):
            return SpellingError("its special tokens would get other numbers")
        return made

    def _in_model(self, piece: str) -> str:
        return self._name(piece) if piece in self._special else piece
