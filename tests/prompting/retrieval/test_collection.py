"""Searching: by words alone, by vectors alone, by both; while collections change."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from retrieval_setting import TopicEmbedder, pdf, write_files

from workbench.errors import DataError
from workbench.prompting.retrieval.chunking import Chunking
from workbench.prompting.retrieval.collection import Collection, open_collection
from workbench.prompting.retrieval.folders import remove_collection
from workbench.prompting.retrieval.index import Index
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.retrieval.passage import Passage
from workbench.prompting.retrieval.record import Options

FILES: dict[str, str | bytes] = {
    "rates.md": "# Tariffs\n\nThe fare for a single ride is 2.40.",
    "cars.md": "# Garage\n\nEvery automobile needs an oil change once a year.",
    "paper.pdf": pdf("Abstract of the paper", "Zeppelins fly slowly", title="On Zeppelins"),
}
TOPICS = (["car", "automobile", "vehicle"], ["fare", "price", "ticket"], ["zeppelin", "airship"])


@pytest.fixture
def embedder() -> TopicEmbedder:
    return TopicEmbedder(TOPICS)


@pytest.fixture
async def collection(tmp_path: Path, embedder: TopicEmbedder) -> Collection:
    await ingest(write_files(tmp_path / "docs", FILES), "town", embedder)
    return open_collection("town", embedder)


def names(passages: list[Passage]) -> list[str]:
    return [passage.name for passage in passages]


async def test_words_alone_find_what_shares_a_word(collection: Collection) -> None:
    lexical = open_collection("town")
    assert lexical.retrievers == ("bm25",)
    assert lexical.without_dense == "the embedding model topics is not at hand: words alone decide"
    [found] = await lexical.search("What does a single ride cost?")
    assert (found.name, found.document, found.headings) == ("rates.md", "Tariffs", ("Tariffs",))
    assert found.text == lexical.document_text(found.path)[found.start : found.end]
    assert (found.first, found.last, found.source) == (1, 3, "rates.md, lines 1–3")
    assert found.title == "Tariffs"
    assert found.ranks == {"bm25": 1} and found.score == pytest.approx(1 / 61)
    assert await lexical.search("vehicle") == []


async def test_vectors_find_what_shares_no_word(collection: Collection) -> None:
    assert collection.retrievers == ("bm25", "dense") and collection.without_dense == ""
    found = await collection.search("vehicle maintenance", 2)
    assert names(found)[0] == "cars.md"
    assert found[0].ranks == {"dense": 1}
    assert found[0].scores["dense"] == pytest.approx(1.0, abs=0.01)


async def test_the_two_rankings_are_fused_by_their_ranks(tmp_path: Path, embedder: TopicEmbedder) -> None:
    texts = {
        "a.txt": "airship airship hall",
        "b.txt": "hall of the price",
        "c.txt": "a car",
        "d.txt": "hall hall hall",
    }
    await ingest(write_files(tmp_path / "four", texts), "four", embedder)
    found = await open_collection("four", embedder).search("hall airship", 4)
    ranks = {passage.name: passage.ranks for passage in found}
    # Words: a holds both; d holds one of them thrice, b once among more words. Vectors: a alone is near.
    assert {name: rank.get("bm25") for name, rank in ranks.items()} == {
        "a.txt": 1,
        "d.txt": 2,
        "b.txt": 3,
        "c.txt": None,
    }
    assert ranks["a.txt"]["dense"] == 1
    for passage in found:
        assert passage.score == pytest.approx(sum(1 / (60 + rank) for rank in passage.ranks.values()))
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)


async def test_pages_of_a_pdf_are_named(collection: Collection) -> None:
    [found] = await open_collection("town").search("slowly")
    assert (found.source, found.document) == ("paper.pdf, pages 1–2", "On Zeppelins")
    assert json.loads(json.dumps(found.as_json()))["source"] == found.source


async def test_prefixes_reach_the_embedder_and_are_remembered(
    tmp_path: Path, embedder: TopicEmbedder
) -> None:
    docs = write_files(tmp_path / "docs", {"a.txt": "car"})
    options = Options(passage_prefix="passage: ", query_prefix="query: ")
    await ingest(docs, "prefixed", embedder, options=options)
    await open_collection("prefixed", embedder).search("fare")
    assert embedder.texts == ["passage: a.txt\ncar", "query: fare"]


async def test_an_empty_query_finds_nothing_and_odd_ones_do_no_harm(collection: Collection) -> None:
    assert await collection.search("  ") == []
    assert await collection.search("car", 0) == []
    for query in ("'; DROP TABLE chunks; --", "[bold]\x1b[31m", "\ud800", "car " * 20_000, "\0"):
        assert len(await collection.search(query.encode("utf-8", "replace").decode(), 50)) == 3


async def test_a_text_that_stands_in_two_files_is_embedded_and_found_once(
    tmp_path: Path, embedder: TopicEmbedder
) -> None:
    text = "It lands at noon."
    files = {"a/airship.txt": text, "b/airship.txt": text, "c.txt": "The airship and the car.", "z.txt": text}
    report = await ingest(write_files(tmp_path / "docs", files), "twice", embedder)
    assert (report.chunks, report.embedded) == (4, 3)
    found = await open_collection("twice", embedder).search("airship", 4)
    assert names(found) == ["a/airship.txt", "c.txt"]


async def test_an_open_collection_follows_what_is_ingested(
    collection: Collection, embedder: TopicEmbedder, tmp_path: Path
) -> None:
    assert names(await collection.search("vehicle", 1)) == ["cars.md"]
    (tmp_path / "docs" / "cars.md").unlink()
    write_files(tmp_path / "docs", {"trucks.md": "A truck is a large vehicle."})
    await ingest(None, "town", embedder)
    assert names(await collection.search("vehicle", 1)) == ["trucks.md"]
    remove_collection("town")
    with pytest.raises(DataError, match="no collection called “town”"):
        await collection.search("vehicle")


async def test_an_open_collection_follows_one_of_its_name_without_vectors(
    collection: Collection, tmp_path: Path
) -> None:
    assert names(await collection.search("vehicle", 1)) == ["cars.md"]
    remove_collection("town")
    await ingest(tmp_path / "docs", "town")
    assert await collection.search("vehicle", 1) == []
    assert names(await collection.search("automobile", 1)) == ["cars.md"]
    assert collection.without_dense.startswith("the collection was ingested without an embedding model")


async def test_a_search_that_an_ingest_overtakes_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_files(tmp_path / "docs", {"a.txt": "tram number one"})
    await ingest(docs, "town")
    collection = open_collection("town")
    overtaken: list[int] = []
    real = Index.search_words

    def overtake(self: Index, query: str, limit: int) -> list[tuple[int, float]]:
        hits = real(self, query, limit)
        if not overtaken:
            overtaken.append(1)
            write_files(docs, {"a.txt": "tram number two", "0.txt": "a tram"})
            asyncio.run(ingest(None, "town"))
        return hits

    monkeypatch.setattr(Index, "search_words", overtake)
    found = await collection.search("tram number", 1)
    assert [passage.text for passage in found] == ["tram number two"]


async def test_many_searches_at_once(collection: Collection) -> None:
    queries = ["vehicle", "price", "airship"] * 20
    found = await asyncio.gather(*(collection.search(query, 1) for query in queries))
    assert [names(passages) for passages in found] == [["cars.md"], ["rates.md"], ["paper.pdf"]] * 20


async def test_what_is_asked_of_a_document_that_is_not_there(collection: Collection) -> None:
    with pytest.raises(DataError, match="no such document"):
        collection.document_text("/nowhere")


async def test_five_thousand_passages(tmp_path: Path, embedder: TopicEmbedder) -> None:
    words = ["tram", "bridge", "river", "market", "tower", "garden"]
    sections = [
        f"## Section {n}\n\n" + " ".join(f"{words[(n * 7 + i) % 6]}{n % 97}" for i in range(14))
        for n in range(500)
    ]
    docs = write_files(
        tmp_path / "docs", {f"{n:02d}.md": f"# Book {n}\n\n" + "\n\n".join(sections) for n in range(10)}
    )
    write_files(docs, {"needle.md": "The airship lands at noon."})
    report = await ingest(docs, "large", embedder, options=Options(chunking=Chunking(100, 0)))
    assert report.chunks > 5000
    collection = open_collection("large", embedder)
    assert names(await collection.search("when does the airship land?", 1)) == ["needle.md"]
    assert names(await collection.search("zeppelin", 1)) == ["needle.md"]
    assert names(await open_collection("large").search("noon", 3)) == ["needle.md"]


async def test_closing_lets_go_and_the_next_search_opens_again(collection: Collection) -> None:
    await collection.search("car")
    collection.close()
    assert names(await collection.search("vehicle", 1)) == ["cars.md"]


@pytest.mark.parametrize("module", ["technique", "collection", "ingest"])
def test_importing_is_light(module: str) -> None:
    code = (
        f"import sys, workbench.prompting.retrieval.{module}\n"
        "heavy = {'torch', 'transformers', 'numpy', 'bm25s', 'qdrant_client', 'pypdf', 'scipy'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"
