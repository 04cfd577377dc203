"""Names of persons: titles and common given names, or a token classifier of yours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from workbench.data.cleaning.pii.finding import Find, Finder
from workbench.errors import ModelError

_GIVEN_NAMES = """
James John Robert Michael William David Richard Joseph Thomas Charles Christopher Daniel Matthew Anthony
Mark Donald Steven Paul Andrew Joshua Kenneth Kevin Brian George Edward Ronald Timothy Jason Jeffrey Ryan
Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Frank Alexander
Raymond Patrick Jack Dennis Jerry Tyler Aaron Jose Adam Henry Nathan Douglas Zachary Peter Kyle Walter Ethan
Jeremy Harold Keith Christian Roger Noah Gerald Carl Terry Sean Austin Arthur Lawrence Jesse Dylan Bryan Joe
Jordan Billy Bruce Albert Willie Gabriel Logan Alan Juan Wayne Roy Ralph Randy Eugene Vincent Russell Louis
Philip Bobby Johnny Bradley Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa
Nancy Betty Margaret Sandra Ashley Kimberly Emily Donna Michelle Carol Amanda Dorothy Melissa Deborah
Stephanie Rebecca Sharon Laura Cynthia Kathleen Amy Angela Shirley Anna Brenda Pamela Emma Nicole Helen
Samantha Katherine Christine Debra Rachel Carolyn Janet Catherine Maria Heather Diane Ruth Julie Olivia
Joyce Virginia Victoria Kelly Lauren Christina Joan Evelyn Judith Megan Andrea Cheryl Hannah Jacqueline
Martha Gloria Teresa Ann Sara Madison Frances Kathryn Janice Jean Abigail Alice Julia Judy Sophia Grace
Denise Amber Doris Marilyn Danielle Beverly Isabella Theresa Diana Natalie Brittany Charlotte Marie Kayla
Alexis Lori Mohammed Ahmed Ali Omar Fatima Aisha Wei Ming Li Priya Rahul Anil Sanjay Ravi Hans Klaus Jürgen
Wolfgang Heinrich Ursula Ingrid Petra Pierre François Jacques Sophie Camille Carlos Miguel Luis Javier
Carmen Lucia Giovanni Giuseppe Francesca Giulia Ivan Dmitri Sergei Olga Natasha Tatiana Yuki Haruto Sakura
"""
GIVEN = _GIVEN_NAMES.split()
"""Given names that are common in many countries and are seldom anything else."""

_WORD = r"[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+(?:['’\-][A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+)?"
_TITLE = re.compile(
    rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir|Lady|Herr|Frau|Mme|Señora?)\.? "
    rf"((?:[A-Z]\. ){{0,2}}{_WORD}(?: {_WORD}){{0,2}})"
)
_GIVEN = re.compile(
    rf"\b(?:{'|'.join(GIVEN)})(?: [A-Z]\.){{0,2}}(?: (?:van|von|de|di|da|del|al|bin|la))* {_WORD}\b"
)


def listed(text: str) -> Iterator[Find]:
    """Names behind a title, and a common given name with a capitalised word behind it."""
    for match in _TITLE.finditer(text):
        yield Find(match.start(1), match.end(1), "name", match[1], "title")
    for match in _GIVEN.finditer(text):
        yield Find(match.start(), match.end(), "name", match[0], "given name")


def classified(folder: str) -> Finder:
    """A finder by a transformers token classifier in a folder: spans whose label ends in PER or PERSON."""
    if not Path(folder).expanduser().is_dir():
        raise ModelError(
            "pii.name_model is no folder",
            where=folder,
            hint="a folder of a token classifier, for example the `final` of a run of the preset tag",
        )
    model: list[Any] = []

    def find(text: str) -> Iterator[Find]:
        if not model:
            model.append(_pipeline(folder))
        for begin, piece in _pieces(text):
            for span in model[0](piece):
                label = str(span["entity_group"]).upper()
                if label.endswith(("PER", "PERSON")):
                    start, end = begin + int(span["start"]), begin + int(span["end"])
                    yield Find(start, end, "name", text[start:end], "model")

    return find


def _pieces(text: str, size: int = 1000) -> Iterator[tuple[int, str]]:
    """A text in pieces that fit a model, cut at blanks."""
    begin = 0
    while begin < len(text):
        end = min(len(text), begin + size)
        if end < len(text):
            end = max(text.rfind(" ", begin, end), text.rfind("\n", begin, end), begin + size // 2)
        if text[begin:end].strip():
            yield begin, text[begin:end]
        begin = end


@cache
def _pipeline(folder: str) -> Any:
    from transformers import pipeline

    path = str(Path(folder).expanduser())
    try:
        return pipeline("token-classification", model=path, aggregation_strategy="simple", device="cpu")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"pii.name_model cannot be loaded: {str(error).splitlines()[0]}", where=folder
        ) from None
