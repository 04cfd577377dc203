"""What a document is on its way from a file to tokens, and what is counted along that way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Found = tuple[str, str]
"""A text as a reader found it, and where: `file`, or `file:line`."""


class Document(NamedTuple):
    """One text to learn from. `raw` is the text in UTF-8: what is hashed and what bytes are counted in."""

    text: str
    raw: bytes
    where: str


@dataclass
class Tally:
    """What was skipped or changed while reading; all of it ends in the report."""

    blank: int = 0
    repaired: int = 0
    cut_files: int = 0


Reader = Callable[[Path, str, Tally], Iterator[Found]]
"""Reads one file: `reader(path, text_column, tally)` yields its texts one by one, in the file's order."""


def cleaned(found: Iterator[Found], tally: Tally) -> Iterator[Document]:
    """Leave out blank texts and replace lone surrogates, which no UTF-8 file can hold, by U+FFFD."""
    for text, where in found:
        if not text or text.isspace():
            tally.blank += 1
            continue
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            # JSON can spell half of a surrogate pair; a detour through UTF-16 joins the whole pairs first.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            raw = text.encode()
            tally.repaired += 1
        yield Document(text, raw, where)
