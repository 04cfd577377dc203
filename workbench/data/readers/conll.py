"""CoNLL columns: a word and its tag a line, a blank line between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.data.documents import Found, Tally
from workbench.data.opening import decode, inner_suffix, open_binary
from workbench.data.readers.place import Place
from workbench.errors import DataError

SUFFIXES = (".conll", ".conllu", ".bio", ".iob", ".iob2")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)?:(?=.)")
"""What WikiANN writes before every word: `en:Berlin`."""

HEAD, SHOWN = 1 << 16, 20
"""Bytes and lines that a text file is known by."""

_TAG = re.compile(r"O|[BIESLU]-\S+")


def read_conll(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield the words of each sentence with blanks between them; `column` does not apply."""
    for record, where in conll_records(path):
        yield " ".join(record["tokens"]), where


def conll_records(path: Path, place: Place | None = None) -> Iterator[tuple[dict[str, list[str]], str]]:
    """Yield each sentence as `tokens` and `tags`, the first and the last column of its lines.

    Of `.conllu` (https://universaldependencies.org/format.html) they are FORM and UPOS.
    """
    name, place = str(path), place or Place()
    universal = inner_suffix(path) == ".conllu"
    tokens: list[str] = []
    tags: list[str] = []
    begun = place.line
    with open_binary(path) as file:
        if place.offset:
            file.seek(place.offset)
        for line in file:
            where = f"{name}:{place.line}"
            text = decode(line, where, place.offset).removeprefix("\ufeff" if place.offset == 0 else "")
            text = text.rstrip("\r\n")
            place.offset += len(line)
            place.line += 1
            if not text.strip() or text.startswith("-DOCSTART-"):
                if tokens:
                    yield {"tokens": _bare(tokens), "tags": tags}, f"{name}:{begun}"
                tokens, tags = [], []
            elif not (universal and (text.startswith("#") or not text.split("\t", 1)[0].isdecimal())):
                word, tag = _universal(text, where) if universal else _first_and_last(text, where)
                begun = begun if tokens else place.line - 1
                tokens.append(word)
                tags.append(tag)
    if tokens:
        yield {"tokens": _bare(tokens), "tags": tags}, f"{name}:{begun}"


def _first_and_last(text: str, where: str) -> tuple[str, str]:
    parts = text.split("\t") if "\t" in text else text.split()
    if len(parts) < 2 or not parts[0].strip() or not parts[-1].strip():
        raise DataError(
            f"the line has no word and tag: “{text[:60]}”",
            where=where,
            hint="a line is a word, a tab or blank, and its tag; sentences end with a blank line",
        )
    return parts[0].strip(), parts[-1].strip()


def _bare(tokens: list[str]) -> list[str]:
    """Words without the language before them, where one stands before all words of the sentence."""
    found = LANGUAGE.match(tokens[0])
    if found is None or not all(token.startswith(found[0]) for token in tokens):
        return tokens
    return [token[found.end() :] or token for token in tokens]


def _universal(text: str, where: str) -> tuple[str, str]:
    parts = text.split("\t")
    if len(parts) != 10:
        raise DataError(
            f"the line has {len(parts)} columns, CoNLL-U has 10",
            where=where,
            hint="the columns stand between tabs; name the file .conll if a line is a word and a tag",
        )
    return parts[1], parts[3]


def looks_like_conll(path: Path) -> bool:
    """Whether the first lines of a text file are words with tags of a chunking scheme."""
    try:
        with open_binary(path) as file:
            head = file.read(HEAD)
    except DataError:
        return False
    lines = head.decode(errors="replace").splitlines()
    # The last line may be cut.
    lines = [line for line in (lines[:-1] if len(head) == HEAD else lines) if line.strip()]
    lines = [line for line in lines if not line.startswith("-DOCSTART-")][:SHOWN]
    parts = [line.split("\t") if "\t" in line else line.split() for line in lines]
    return len(parts) > 1 and all(len(p) > 1 and _TAG.fullmatch(p[-1].strip()) for p in parts)
