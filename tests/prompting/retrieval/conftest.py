"""Documents on pets, and an embedder that knows their topics."""

from __future__ import annotations

from pathlib import Path

import pytest
from pets import FILES, TOPICS
from retrieval_setting import TopicEmbedder, write_files


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The folder of the documents."""
    return write_files(tmp_path / "docs", FILES)


@pytest.fixture
def embedder() -> TopicEmbedder:
    """An embedder of the documents' topics."""
    return TopicEmbedder(TOPICS)
