"""Vectors on a Qdrant server: the real client over HTTP, against a server that keeps its points in memory."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retrieval_setting import TopicEmbedder, write_files

from workbench.errors import DataError, ServerError
from workbench.prompting.retrieval import folders
from workbench.prompting.retrieval.collection import open_collection
from workbench.prompting.retrieval.folders import describe, remove_collection
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.retrieval.qdrant import KEY_VARIABLE, QdrantVectors
from workbench.prompting.retrieval.record import Options
from workbench.prompting.retrieval.vectors import unit_vectors, vector_key

TOPICS = (["cat", "feline"], ["dog", "hound"], ["owl", "bird"])


class FakeQdrant(ThreadingHTTPServer):
    """The part of Qdrant's REST interface that is used, as its documentation has it."""

    daemon_threads = True

    def __init__(self, key: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.collections: dict[str, dict[str, Any]] = {}
        self.broken = False
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        match = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
        assert match is not None
        name, rest = match[1], match[2] or ""
        if rest == "/exists":
            return {"exists": name in self.collections}
        if rest == "" and method == "PUT":
            self.collections[name] = {"size": body["vectors"]["size"], "points": {}}
            assert body["vectors"]["distance"] == "Cosine"
            return True
        if rest == "" and method == "DELETE":
            return self.collections.pop(name, None) is not None
        points = self.collections[name]["points"]
        if rest == "/points" and method == "PUT":
            points.update(zip(body["batch"]["ids"], body["batch"]["vectors"], strict=True))
            return {"operation_id": 1, "status": "completed"}
        if rest == "/points":
            return [{"id": key} for key in body["ids"] if key in points]
        if rest == "/points/delete":
            for key in body["points"]:
                del points[key]
            return {"operation_id": 1, "status": "completed"}
        if rest == "/points/scroll":
            keys = sorted(key for key in points if key >= (body.get("offset") or ""))
            page, others = keys[: body["limit"]], keys[body["limit"] :]
            return {
                "points": [{"id": key} for key in page],
                "next_page_offset": others[0] if others else None,
            }
        assert rest == "/points/query"
        query = np.array(body["query"]["nearest"])
        scores = {key: float(query @ np.array(point)) for key, point in points.items()}
        best = sorted(scores, key=lambda key: -scores[key])[: body["limit"]]
        return {"points": [{"id": key, "version": 1, "score": scores[key]} for key in best]}


class _Handler(BaseHTTPRequestHandler):
    server: FakeQdrant

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        if self.headers.get("api-key") != self.server.key:
            self._send(401, b"Must provide an API key")
        elif self.server.broken:
            self._send(200, b'{"result": "\x1b[31mnonsense"}')
        else:
            result = self.server.answer(self.command, self.path.partition("?")[0], body)
            self._send(200, json.dumps({"result": result, "status": "ok", "time": 0.0}).encode())

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody wants to read it."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeQdrant]:
    monkeypatch.setenv(KEY_VARIABLE, "the key")
    with FakeQdrant("the key") as fake:
        yield fake
        fake.shutdown()


def test_vectors_are_added_found_and_forgotten(server: FakeQdrant) -> None:
    store = QdrantVectors(server.url, "test")
    keys = [vector_key("e", "", str(number)) for number in range(2500)]
    assert store.known(keys) == set()
    store.retain([])
    vectors = unit_vectors(np.random.default_rng(1).normal(size=(2500, 4)).tolist(), 2500, 4, "e")
    store.add(dict(zip(keys, vectors, strict=True)))
    assert store.known([*keys, vector_key("e", "", "other")]) == set(keys)
    asked = keys[::5]
    hits = store.index(asked).nearest(vectors[3], 10)
    expected = sorted(((float(vectors[n] @ vectors[3]), keys[n]) for n in range(0, 2500, 5)), reverse=True)[
        :10
    ]
    assert [key for key, _ in hits] == [key for _, key in expected]
    store.retain(asked)
    assert store.known(keys) == set(asked)
    assert store.index([]).nearest(vectors[0], 5) == []
    store.drop()
    assert server.collections == {}
    store.close()


async def test_a_collection_keeps_its_vectors_on_the_server(server: FakeQdrant, tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"cats.txt": "Cats purr.", "dogs.txt": "Dogs bark."})
    embedder = TopicEmbedder(TOPICS)
    report = await ingest(docs, "pets", embedder, options=Options(qdrant_url=server.url))
    assert report.embedded == 2
    [(name, held)] = server.collections.items()
    assert name == f"workbench-{describe('pets').identity}" and held["size"] == 4 and len(held["points"]) == 2

    collection = open_collection("pets", embedder)
    found = await collection.search("hound", 1)
    assert (found[0].name, found[0].ranks) == ("dogs.txt", {"dense": 1})
    collection.close()

    (docs / "dogs.txt").unlink()
    write_files(docs, {"owls.txt": "Owls hoot."})
    assert (await ingest(None, "pets", embedder)).embedded == 1
    assert len(held["points"]) == 2
    assert (await open_collection("pets", embedder).search("bird", 1))[0].name == "owls.txt"
    with pytest.raises(DataError, match="are kept http://127"):
        await ingest(None, "pets", embedder, options=Options())

    home = folders.folder_of("pets")
    assert all(b"the key" not in path.read_bytes() for path in home.rglob("*") if path.is_file())
    remove_collection("pets")
    assert server.collections == {}


async def test_a_collection_can_be_removed_when_its_server_is_gone(
    server: FakeQdrant, tmp_path: Path
) -> None:
    docs = write_files(tmp_path / "docs", {"cats.txt": "Cats purr."})
    await ingest(docs, "pets", TopicEmbedder(TOPICS), options=Options(qdrant_url=server.url))
    name = folders.server_name(describe("pets"))
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerError, match="“pets” is removed here, but its vectors stay") as caught:
        remove_collection("pets")
    assert name in caught.value.hint
    assert folders.collection_names() == []


async def test_a_server_that_refuses_breaks_or_is_gone_is_a_clear_error(
    server: FakeQdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_files(tmp_path / "docs", {"cats.txt": "Cats purr."})
    options = Options(qdrant_url=server.url)
    embedder = TopicEmbedder(TOPICS)
    with monkeypatch.context() as patch:
        patch.delenv(KEY_VARIABLE)
        with pytest.raises(ServerError, match="answered 401 .*Must provide an API key") as caught:
            await ingest(docs, "pets", embedder, options=options)
    assert (caught.value.where, caught.value.hint) == (server.url, f"set {KEY_VARIABLE} to the server's key")
    server.broken = True
    with pytest.raises(ServerError, match="cannot be asked"):
        await ingest(docs, "pets", embedder, options=options)
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerError, match="cannot be asked: .*refused") as caught:
        await ingest(docs, "pets", embedder, options=options)
    assert "is it running?" in caught.value.hint
    with pytest.raises(ServerError, match="cannot be asked"):
        await ingest(docs, "other", embedder, options=Options(qdrant_url="ftp://nowhere"))
