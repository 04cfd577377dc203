"""Bytes to text, or the reason why they are none."""

from __future__ import annotations

import codecs
import re

from workbench.errors import DataError
from workbench.prompting.retrieval.extraction.document import clean

OPENING = 8192
"""Enough of a file to tell text from something else."""

MOST_STRANGE = 0.1
"""A file with a larger share of strange characters than this is no text. French and German in Latin-1
read as UTF-8 have 3 to 5 %; a picture or an archive has more than 30 %."""

STRANGE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
DECLARED_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)


def decode(data: bytes, *, charset: str = "utf-8") -> tuple[str, tuple[str, ...]]:
    """The text, and a note if something in it had to be replaced.

    A byte order mark decides; otherwise `charset` does. Raises `DataError` for what is no text.
    """
    if data.startswith(codecs.BOM_UTF8):
        data, charset = data[len(codecs.BOM_UTF8) :], "utf-8"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    elif b"\0" in data[:OPENING]:
        raise DataError("it is a binary file")
    try:
        return clean(data.decode(charset)), ()
    except UnicodeDecodeError:
        text = clean(data.decode(charset, errors="replace"))
    opening = text[:OPENING]
    if len(STRANGE.findall(opening)) > MOST_STRANGE * len(opening):
        raise DataError("it is not text, or not in UTF-8")
    return text, (f"{text.count(chr(0xFFFD))} places that are not {charset.upper()} were replaced by U+FFFD",)


def declared_charset(data: bytes) -> str:
    """The character set that an HTML page names in its opening; UTF-8 if none that Python knows."""
    found = DECLARED_CHARSET.search(data[:OPENING])
    name = found[1].decode("ascii", "replace") if found else "utf-8"
    try:
        return codecs.lookup(name).name if "".encode(name) == b"" else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"
