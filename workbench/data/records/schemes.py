"""Tags of entities: IOB2, and IOB1, which is turned into it (Ramshaw & Marcus 1995; Tjong Kim Sang 1999).

In IOB2 each entity begins with `B-TYPE`; in IOB1 only one does that follows another of its type at once,
and all others begin with `I-TYPE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.errors import DataError

Tagged = tuple[Sequence[str], str]
"""The tags of a sentence, and where it stands."""


def is_chunked(tags: Iterable[str]) -> bool:
    """Whether tags mark entities, and are not, say, parts of speech."""
    return any(tag.startswith(("B-", "I-")) for tag in tags)


def first_unopened(tags: Sequence[str]) -> int | None:
    """The first place where an entity begins with I-, which IOB2 does not know."""
    before = "O"
    for place, tag in enumerate(tags):
        if tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag):
            return place
        before = tag
    return None


def first_opened(tags: Sequence[str]) -> int | None:
    """The first place where an entity begins with B- without need, which IOB1 does not know."""
    before = "O"
    for place, tag in enumerate(tags):
        if tag.startswith("B-") and before not in (tag, f"I-{tag[2:]}"):
            return place
        before = tag
    return None


def check_tags(tags: Sequence[str], where: str) -> None:
    """Raise `DataError` when tags of entities follow neither IOB2 nor IOB1."""
    if not is_chunked(tags):
        return
    for place, tag in enumerate(tags, 1):
        if tag != "O" and not (tag.startswith(("B-", "I-")) and len(tag) > 2):
            raise DataError(
                f"the tag “{tag}” of word {place} is out of the scheme: O, B-TYPE or I-TYPE",
                where=where,
                hint="rewrite it in IOB2; other schemes (IOBES, BILOU) are not read as entities",
            )
    unopened, opened = first_unopened(tags), first_opened(tags)
    if unopened is not None and opened is not None:
        raise _mixed(tags, unopened, where, f"word {opened + 1}, “{tags[opened]}”, does so")


def scheme_of(sentences: Sequence[Tagged]) -> str:
    """`IOB2`, `IOB1`, or nothing where tags mark no entities, for all sentences of a source together.

    Raises `DataError` when some of them are in neither, or they are not all in the same.
    """
    chunked = any(is_chunked(tags) for tags, _ in sentences)
    if not chunked:
        return ""
    unopened: tuple[Sequence[str], int, str] | None = None
    opened = ""
    for tags, where in sentences:
        if not is_chunked(tags) and any(tag != "O" for tag in tags):
            tag = next(tag for tag in tags if tag != "O")
            raise DataError(
                f"the tag “{tag}” is out of the scheme of the others: O, B-TYPE or I-TYPE",
                where=where,
                hint="rewrite it in IOB2; other schemes (IOBES, BILOU) are not read as entities",
            )
        place = first_unopened(tags)
        if place is not None and unopened is None:
            unopened = tags, place, where
        if first_opened(tags) is not None:
            opened = opened or where
        if unopened and opened:
            raise _mixed(*unopened, f"{opened} does so")
    return "IOB1" if unopened else "IOB2"


def _mixed(tags: Sequence[str], place: int, where: str, other: str) -> DataError:
    before = tags[place - 1] if place else "O"
    return DataError(
        f"the tag “{tags[place]}” of word {place + 1} follows “{before}”: in IOB2 an entity begins with B-, "
        f"and {other}",
        where=where,
        hint=f"write B-{tags[place][2:]} there; a source wholly in IOB1 would be turned into IOB2",
    )


def to_iob2(tags: Sequence[str]) -> list[str]:
    """IOB1 in IOB2: the same entities, each beginning with B-."""
    found, before = [], "O"
    for tag in tags:
        begins = tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag)
        found.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return found
