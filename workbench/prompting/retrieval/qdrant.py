"""Vectors on a Qdrant server, for collections that outgrow one file or are searched from many machines."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from workbench.errors import MissingExtraError, ServerError
from workbench.installing import pip_install
from workbench.prompting.retrieval.vectors import NearestIndex, NearKeys

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from workbench.prompting.retrieval.vectors import Array

KEY_VARIABLE = "QDRANT_API_KEY"
TIMEOUT_SECONDS = 60
PAGE = 1000
"""Points a request names at most."""


class QdrantVectors:
    """Vectors in one collection of a server. The key comes from the environment and is kept nowhere."""

    def __init__(self, url: str, name: str) -> None:
        try:
            from qdrant_client import QdrantClient
        except ImportError:
            raise MissingExtraError(
                "a Qdrant server needs the package qdrant-client", hint=pip_install("qdrant-client")
            ) from None
        self.url, self.name = url, name
        key = os.environ.get(KEY_VARIABLE)
        # As a header of ours, since the client warns on every use of a key without TLS, on loopback too.
        headers = {"api-key": key} if key else None
        with self._asking():
            self.client: QdrantClient = QdrantClient(
                url=url, headers=headers, timeout=TIMEOUT_SECONDS, check_compatibility=False
            )

    def known(self, keys: Collection[str]) -> set[str]:
        found: set[str] = set()
        with self._asking():
            if not self.client.collection_exists(self.name):
                return found
            for page in _pages(keys):
                points = self.client.retrieve(self.name, page, with_payload=False, with_vectors=False)
                found.update(str(point.id) for point in points)
        return found

    def add(self, vectors: Mapping[str, Array]) -> None:
        from qdrant_client.models import Batch, Distance, VectorParams

        if not vectors:
            return
        with self._asking():
            if not self.client.collection_exists(self.name):
                size = len(next(iter(vectors.values())))
                self.client.create_collection(
                    self.name, vectors_config=VectorParams(size=size, distance=Distance.COSINE)
                )
            rows = [vector.tolist() for vector in vectors.values()]
            self.client.upsert(self.name, Batch(ids=list(vectors), vectors=rows), wait=True)

    def retain(self, keys: Collection[str]) -> None:
        from qdrant_client.models import PointIdsList

        wanted = set(keys)
        with self._asking():
            if not self.client.collection_exists(self.name):
                return
            for page in _pages([key for key in self._all_keys() if key not in wanted]):
                self.client.delete(self.name, PointIdsList(points=page), wait=True)

    def _all_keys(self) -> Iterator[str]:
        offset = None
        while True:
            points, offset = self.client.scroll(
                self.name, limit=PAGE, offset=offset, with_payload=False, with_vectors=False
            )
            yield from (str(point.id) for point in points)
            if offset is None:
                return

    def index(self, keys: Collection[str]) -> NearestIndex:
        return _Among(self, frozenset(keys))

    def nearest(self, query: Array, limit: int) -> NearKeys:
        """The nearest of all that the server holds."""
        with self._asking():
            answer = self.client.query_points(
                self.name, query=query.tolist(), limit=limit, with_payload=False, with_vectors=False
            )
        hits = [(str(point.id), float(point.score)) for point in answer.points]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def drop(self) -> None:
        with self._asking():
            self.client.delete_collection(self.name)

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

        try:
            yield
        except UnexpectedResponse as error:
            refused = error.status_code in (401, 403)
            body = error.content.decode(errors="replace")[:300]
            raise ServerError(
                f"the Qdrant server answered {error.status_code} {error.reason_phrase}: {body}".rstrip(": "),
                where=self.url,
                hint=f"set {KEY_VARIABLE} to the server's key" if refused else "",
            ) from None
        except (ApiException, QdrantException, ValueError) as error:
            cause = error.source if isinstance(error, ResponseHandlingException) else error
            raise ServerError(
                f"the Qdrant server cannot be asked: {cause or type(cause).__name__}",
                where=self.url,
                hint="is it running? Its address reads like http://HOST:6333",
            ) from None


class _Among:
    """Searches a server that also holds vectors of an ingest under way, or of one that was interrupted."""

    def __init__(self, store: QdrantVectors, keys: frozenset[str]) -> None:
        self._store, self._keys = store, keys

    def nearest(self, query: Array, limit: int) -> NearKeys:
        limit = min(limit, len(self._keys))
        asked = limit
        while True:
            hits = self._store.nearest(query, asked) if asked else []
            kept = [hit for hit in hits if hit[0] in self._keys]
            if len(kept) >= limit or len(hits) < asked:
                return kept[:limit]
            asked *= 2


def _pages(keys: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while page := list(islice(remaining, PAGE)):
        yield page
