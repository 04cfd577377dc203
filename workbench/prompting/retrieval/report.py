"""What an ingest has to say when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.prompting.retrieval.sources import Skipped


@dataclass
class IngestReport:
    """What an ingest did: documents by what became of them, and what a person should look at.

    `notes` are pairs of a path and what was lost in reading it. `embedded` counts passages that were sent to
    the embedder, `seconds` is the wall-clock time.
    """

    name: str
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    documents: int = 0
    chunks: int = 0
    embedded: int = 0
    embedder: str = ""
    seconds: float = 0.0
