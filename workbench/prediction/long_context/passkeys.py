"""Passkeys (Mohtashami & Jaggi 2023, section 4.2): a number in the midst of text that has nothing to do with
it, asked for at the end. As prompts of an exact length, and as texts to learn the task from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.data.framing import frame_for
from workbench.errors import DataError, UsageError

StyleName = Literal["classic", "text"]
INTRO = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there.\n"
)
NEEDLE = "\nThe pass key is {key}. Remember it. {key} is the pass key.\n"
QUESTION = "\nWhat is the pass key? The pass key is"
SENTENCES = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
"""What stands around the needle in the paper, over and over."""
MOST_DIGITS = 12
TIMES_WRITTEN = 3
"""How often a key stands in a prompt with its answer."""


@dataclass(frozen=True)
class Prompt:
    """A prompt with its answer: token ids [L], the last `answer` of which are the key."""

    ids: NDArray[np.int64]
    answer: int
    key: str


class Passkeys:
    """Makes prompts and texts. `filler` [n] are the tokens of running text for the style `text`; the style
    `classic` has an introduction and repeats the paper's sentences."""

    def __init__(
        self, tokenizer: Any, style: StyleName, digits: int, filler: Sequence[int] | NDArray[Any] = ()
    ) -> None:
        """Raises `DataError` where there is no text to hide a key in."""
        self.tokenizer, self.style, self.digits = tokenizer, style, digits
        if style == "classic":
            filler = self._encode(SENTENCES)
        self.filler = np.asarray(filler, np.int64)
        if not len(self.filler):
            raise DataError("there is no text to hide a pass key in", hint="name some: --data FILE")
        prefix = list(frame_for("clm", tokenizer).prefix)
        self.intro = prefix + (self._encode(INTRO) if style == "classic" else [])

    def _encode(self, text: str) -> list[int]:
        return [int(token) for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def prompt(self, length: int, depth: float, seed: Sequence[int]) -> Prompt:
        """A prompt of exactly `length` tokens, answer included, the needle behind the share `depth` of what
        is around it. The same seed gives the same key and the same text. Raises `UsageError` where so many
        tokens hold no needle."""
        drawn = np.random.default_rng([*seed])
        key = self._key(drawn)
        question, answer = self._question(key)
        needle = self._encode(NEEDLE.format(key=key))
        room = length - len(self.intro) - len(needle) - len(question) - len(answer)
        if room < 0:
            raise UsageError(
                f"{length:,} tokens are too few for a pass key: its prompt takes {length - room:,}",
                where="--lengths",
                hint=f"from {length - room:,} on; --style text takes fewer",
            )
        around = self._text(room, drawn)
        cut = round(depth * room)
        parts = (self.intro, around[:cut], needle, around[cut:], question, answer)
        ids = np.concatenate([np.asarray(part, np.int64) for part in parts])
        return Prompt(ids, len(answer), key)

    def has_room(self, length: int) -> bool:
        """Whether a prompt of so many tokens holds any key, also one that takes a token for each digit."""
        try:
            self.prompt(length - TIMES_WRITTEN * self.digits, 0.0, (0,))
        except UsageError:
            return False
        return True

    def text(self, length: int, depth: float, seed: Sequence[int]) -> tuple[str, str]:
        """A text to learn from, of about so many tokens, and the key that it ends with (blank first)."""
        drawn = np.random.default_rng([*seed])
        key = self._key(drawn)
        fixed = len(self.intro) + len(self._encode(NEEDLE.format(key=key) + QUESTION + f" {key}."))
        room = max(0, length - fixed)
        around = self._text(room, drawn)
        cut = round(depth * room)
        before, after = (self._decode(part) for part in (around[:cut], around[cut:]))
        intro = INTRO if self.style == "classic" else ""
        return f"{intro}{before}{NEEDLE.format(key=key)}{after}{QUESTION}", f" {key}."

    def _key(self, drawn: np.random.Generator) -> str:
        return str(drawn.integers(10 ** (self.digits - 1), 10**self.digits))

    def _question(self, key: str) -> tuple[list[int], list[int]]:
        """The question and the answer as the tokenizer writes them together: where it joins the end of the
        one with the beginning of the other, that token belongs to the answer."""
        whole, alone = self._encode(f"{QUESTION} {key}"), self._encode(QUESTION)
        same = 0
        while same < min(len(whole), len(alone)) and whole[same] == alone[same]:
            same += 1
        same = min(same, len(whole) - 1)
        return whole[:same], whole[same:]

    def _text(self, count: int, drawn: np.random.Generator) -> NDArray[np.int64]:
        """So many tokens of what stands around, from a place that is drawn; from the front of sentences."""
        start = 0 if self.style == "classic" else int(drawn.integers(len(self.filler)))
        return np.take(self.filler, np.arange(start, start + count), mode="wrap")

    def _decode(self, ids: NDArray[np.int64]) -> str:
        # A cut inside a character of several bytes leaves what no byte stands for.
        return str(self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)).replace("�", "")
