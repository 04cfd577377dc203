"""The collection `pets`: three short files of as many topics, what an ingest of them did, what is found."""

from __future__ import annotations

from retrieval_setting import TopicEmbedder

from workbench.prompting.retrieval.collection import open_collection
from workbench.prompting.retrieval.report import IngestReport

FILES: dict[str, str | bytes] = {
    "cats.md": "# Cats\n\nCats purr when they are content.",
    "dogs.md": "# Dogs\n\nDogs bark at strangers.",
    "birds/owl.txt": "Owls hunt at night.",
}
TOPICS = (["cat", "feline"], ["dog", "hound"], ["owl", "bird"])


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    """Files added, changed, unchanged and removed."""
    return report.added, report.changed, report.unchanged, report.removed


async def found(query: str, embedder: TopicEmbedder | None = None) -> list[str]:
    """The names of the files found, best first."""
    collection = open_collection("pets", embedder)
    return [passage.name for passage in await collection.search(query, 3)]
