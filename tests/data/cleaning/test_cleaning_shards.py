"""How sources are cut into shards, and what the shards between two stages tell."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.data.cleaning.conftest import write_lines
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.plan import make_plan, sources_of
from workbench.data.cleaning.reading import items_of
from workbench.data.cleaning.shards import Lookup, ShardWriter
from workbench.recipe.cleaning import load_cleaning


@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv", "jsonl.gz"])
def test_shards_hold_every_record_once(tmp_path: Path, form: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"record number {n} " + "x" * (n % 37) for n in range(2000)]
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=150)
    elif form == "csv":
        path.write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    else:
        # Blank lines, and a last line without its end.
        raw = "\n\n".join(json.dumps({"text": text}) for text in texts).encode()
        path.write_bytes(gzip.compress(raw) if form.endswith("gz") else raw)
    recipe = load_cleaning("text", [f"data.sources=[{path}]", "executor.shard_megabytes=0.01"])
    plan = make_plan(recipe)
    assert len(plan.shards) > 1
    sources = sources_of(recipe)
    found = [item.text for shard in plan.shards for item in items_of(plan, shard, sources)]
    assert sorted(found) == sorted(texts)
    if form in ("jsonl", "parquet"):
        assert found == texts


def test_a_limit_is_of_the_source(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"{n} " * 50} for n in range(100)])
    sources = f"data.sources=[{{path: {path}, limit: 7}}]"
    recipe = load_cleaning("text", [sources, "executor.shard_megabytes=0.001"])
    plan = make_plan(recipe)
    assert sum(len(list(items_of(plan, shard, sources_of(recipe)))) for shard in plan.shards) == 7


def test_a_record_of_a_shard_is_found_with_its_place(tmp_path: Path) -> None:
    items = [Item({"text": f"text {n}"}, "text", where=f"/ä/a.jsonl:{n}") for n in range(1200)]
    for rank, some in enumerate((items[:700], items[700:])):
        assert list(ShardWriter(tmp_path, "kept").run(iter(some), rank)) == some
    lookup = Lookup(tmp_path / "work" / "kept", "text")
    for number in (0, 511, 512, 699, 700, 1199):
        place = (0, number) if number < 700 else (1, number - 700)
        assert lookup.where(*place) == f"/ä/a.jsonl:{number}"
        assert lookup.text(*place) == f"text {number}"
