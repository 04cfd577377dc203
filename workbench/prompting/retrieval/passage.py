"""A passage that was found, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.prompting.retrieval.extraction.document import Unit


@dataclass(frozen=True)
class Passage:
    """text = (text of the document at `path`)[start:end], on lines or pages `first` to `last` of the file.

    `score` is the fused one; `ranks` (from 1) and `scores` say what each retriever made of it: BM25, and the
    cosine for `dense`. `name` is the path below the folder that was ingested, `document` the title.
    """

    path: str
    name: str
    document: str
    text: str
    start: int
    end: int
    unit: Unit
    first: int
    last: int
    headings: tuple[str, ...] = ()
    score: float = 0.0
    ranks: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The place as people write it: `guide.md, lines 3–9`."""
        if self.first == self.last:
            return f"{self.name}, {self.unit} {self.first}"
        return f"{self.name}, {self.unit}s {self.first}–{self.last}"

    @property
    def title(self) -> str:
        """What it is about: the headings that it stands under, else the title of the document."""
        return " › ".join(self.headings) or self.document

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON, with `source`."""
        return {**asdict(self), "headings": list(self.headings), "source": self.source}
