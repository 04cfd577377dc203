"""A tokenizer's fast part on its own, that frames, cuts, and takes words as words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

NO_WORD = "?"
"""Stands for a word that the tokenizer makes nothing of, where it has no unknown token."""


class Framed:
    """A private copy, so that the tokenizer that is saved with the model stays as it was.

    It puts the tokenizer's own frame around a text or a pair, and cuts, on the tokenizer's side of cutting,
    what is longer than `max_length`.
    """

    def __init__(self, tokenizer: Any, max_length: int, *, words: bool = False) -> None:
        """With `words`, what is encoded are lists of words: each begins as after a blank."""
        from tokenizers import Tokenizer

        state = tokenizer.backend_tokenizer.to_str()
        self._backend = Tokenizer.from_str(_parted(state) if words else state)
        self._backend.no_padding()
        self._backend.no_truncation()
        self._side = getattr(tokenizer, "truncation_side", "right")
        self._unknown = tokenizer.unk_token or NO_WORD
        self.max_length = max_length
        self.has_types = "token_type_ids" in tokenizer.model_input_names
        self.pair_frame = int(self._backend.num_special_tokens_to_add(True))
        """Tokens of the frame around a pair."""

    def sentences(self, texts: Sequence[str], pairs: Sequence[str | None]) -> list[Any]:
        """Encodings of texts, alone or with their pair; of a pair, the longer one is cut first."""
        self._backend.enable_truncation(self.max_length, strategy="longest_first", direction=self._side)
        inputs = [text if pair is None else (text, pair) for text, pair in zip(texts, pairs, strict=True)]
        found: list[Any] = self._backend.encode_batch(inputs)
        return found

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        """Encodings of lists of words. A word that the tokenizer drops, as BERT's does with control
        characters, becomes its unknown token: every word that is not cut has at least one piece."""
        # The end is cut, whatever the tokenizer's side: tags are compared from the first word on.
        self._backend.enable_truncation(self.max_length, direction="right")
        encodings: list[Any] = self._backend.encode_batch([list(words) for words in sentences], True)
        for number, (words, encoding) in enumerate(zip(sentences, encodings, strict=True)):
            empty = self._empty(words, encoding)
            if empty:
                whole = [self._unknown if place in empty else word for place, word in enumerate(words)]
                encodings[number] = self._backend.encode(whole, is_pretokenized=True)
        return encodings

    def _empty(self, words: Sequence[str], encoding: Any) -> set[int]:
        """The places of the words without a piece, those that were cut included where there are any."""
        seen = {word for word in encoding.word_ids if word is not None}
        if len(seen) == len(words):
            return set()
        for part in encoding.overflowing:
            seen.update(word for word in part.word_ids if word is not None)
        return set(range(len(words))) - seen

    def windows(self, questions: Sequence[str], contexts: Sequence[str], stride: int) -> list[list[Any]]:
        """Encodings of each question with its context, in windows that share `stride` tokens of it."""
        self._backend.enable_truncation(
            self.max_length, stride=stride, strategy="only_second", direction="right"
        )
        found = self._backend.encode_batch(list(zip(questions, contexts, strict=True)))
        return [[encoding, *encoding.overflowing] for encoding in found]

    def sizes(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text without a frame."""
        self._backend.no_truncation()
        return [len(found) for found in self._backend.encode_batch(list(texts), add_special_tokens=False)]


def _parted(state: str) -> str:
    """A tokenizer whose every word begins with a blank, if it is one that marks blanks.

    Else the pieces of a word would be those that stand inside of words, and words would run together.
    """
    parts = orjson.loads(state)
    _mark_blanks(parts.get("pre_tokenizer"))
    return orjson.dumps(parts).decode()


def _mark_blanks(step: Any) -> None:
    if not isinstance(step, dict):
        return
    if step.get("type") == "ByteLevel":
        step["add_prefix_space"] = True
    elif step.get("type") == "Metaspace":
        step["prepend_scheme"] = "always"
    for inner in step.get("pretokenizers", ()):
        _mark_blanks(inner)
