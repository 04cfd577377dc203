"""Hugging Face data sets: folders on this machine, streams, and a hub that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.data import scan as scan_module
from workbench.data.documents import Tally
from workbench.data.readers import hub
from workbench.data.scan import scan
from workbench.data.sources import find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec

TEXTS = [f"text {number}" for number in range(7)]


def read(path: object, **fields: Any) -> list[str]:
    source = find_source(SourceSpec(path=str(path), **fields))
    return [document.text for document in source.documents(Tally())]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


def test_a_folder_written_by_save_to_disk(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one") == TEXTS
    assert read(tmp_path / "one", limit=3) == TEXTS[:3]


def test_the_split_of_a_saved_dictionary(tmp_path: Path) -> None:
    parts = {"train": TEXTS[:5], "test": TEXTS[5:]}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_dict({"text": texts}) for name, texts in parts.items()}
    ).save_to_disk(tmp_path / "two")
    assert read(tmp_path / "two") == TEXTS[:5]
    assert read(tmp_path / "two", split="test") == TEXTS[5:]
    with pytest.raises(DataError, match="there are train, test"):
        read(tmp_path / "two", split="validation")
    with pytest.raises(DataError, match="no column “body”; the columns are text"):
        read(tmp_path / "two", text_column="body")


def test_a_folder_of_parquet_with_splits(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS[:5]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": TEXTS[5:]}), tmp_path / "test.parquet")
    assert read(tmp_path, split="test") == TEXTS[5:]
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train\n    path: train.parquet\n---\nText.\n"
    )
    assert read(tmp_path) == TEXTS[:5]
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, split="validation")


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    source = find_source(SourceSpec(path="someone/corpus"))
    with pytest.raises(DataError, match="cannot be reached") as caught:
        scan(source, tmp_path, lambda what, done, total: None)
    assert "network" in caught.value.hint


def test_a_stream_once_read_is_known_when_the_hub_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(*arguments: Any, **named: Any) -> Iterator[dict[str, str]]:
        assert arguments == ("someone/corpus", "en")
        assert named == {"split": "train", "streaming": True}
        return iter([{"text": text} for text in TEXTS])

    source = find_source(SourceSpec(path="someone/corpus", config_name="en"))
    monkeypatch.setattr(scan_module, "hub_revision", lambda spec: "c0ffee")
    monkeypatch.setattr(datasets, "load_dataset", stream)
    first = scan(source, tmp_path, lambda what, done, total: None)
    assert first.documents == len(TEXTS)

    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert scan(source, tmp_path, lambda what, done, total: None) == first


def test_a_connection_lost_while_streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(*arguments: Any, **named: Any) -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(datasets, "load_dataset", stream)
    rows = hub.read_hub(SourceSpec(path="someone/corpus"), None)
    assert next(rows)[0] == "a"
    with pytest.raises(DataError, match="cannot be reached"):
        next(rows)
