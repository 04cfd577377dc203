"""CoNLL columns: a word and its tag a line, a blank line between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.data.opening import decoded_lines, open_binary
from workbench.errors import DataError

SUFFIXES = (".conll", ".conllu", ".bio", ".iob", ".iob2")
LANGUAGE = re.compile(r"^[a-z]{2,3}(-[a-z]+)?:(?=.)")
"""What WikiANN writes before every word: `en:Berlin`."""


def conll_records(path: Path) -> Iterator[tuple[object, str]]:
    """Yield each sentence as `tokens` and `tags`, the first and the last column of its lines."""
    name = str(path)
    tokens: list[str] = []
    tags: list[str] = []
    begun = 1
    with open_binary(path) as file:
        for number, line in enumerate(decoded_lines(file, name), 1):
            text = line.rstrip("\r\n")
            if not text.strip() or text.startswith("-DOCSTART-"):
                if tokens:
                    yield {"tokens": tokens, "tags": tags}, f"{name}:{begun}"
                tokens, tags = [], []
                continue
            parts = text.split("\t") if "\t" in text else text.split()
            if len(parts) < 2 or not parts[0].strip():
                raise DataError(
                    f"the line has no word and tag: “{text[:60]}”",
                    where=f"{name}:{number}",
                    hint="a line is a word, a tab or blank, and its tag; sentences end with a blank line",
                )
            begun = number if not tokens else begun
            tokens.append(LANGUAGE.sub("", parts[0]))
            tags.append(parts[-1].strip())
    if tokens:
        yield {"tokens": tokens, "tags": tags}, f"{name}:{begun}"


def looks_like_conll(path: Path) -> bool:
    """Whether the first lines of a text file are words with tags of a chunking scheme."""
    shown = 0
    try:
        with open_binary(path) as file:
            for line in decoded_lines(file, str(path)):
                text = line.rstrip("\r\n")
                if not text.strip() or text.startswith("-DOCSTART-"):
                    continue
                parts = text.split("\t") if "\t" in text else text.split()
                if len(parts) < 2 or not re.fullmatch(r"O|[BIESLU]-\S+", parts[-1].strip()):
                    return False
                shown += 1
                if shown == 20:
                    return True
    except DataError:
        return False
    return shown > 1
