"""A corpus is streamed: memory does not grow with its size."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

MEGABYTE = 1 << 20

PROGRAM = """
import json, resource, sys
from pathlib import Path
from workbench.data import PackedRows, prepare
from workbench.recipe import DataSection

folder = Path(sys.argv[1])

def prepared(name, tokenizer):
    return prepare(
        DataSection(sources=str(folder / name)), tokenizer_name_or_path=tokenizer, model_name_or_path=None,
        revision=None, trust_remote_code=False, vocab_size=4096, seed=0, cache=folder / "cache",
        progress=lambda what, done, total: None,
    )

prepared("small.jsonl", None).tokenizer.save_pretrained(folder / "tokenizer")
prepared("small.jsonl", str(folder / "tokenizer"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
big = prepared("big.jsonl", str(folder / "tokenizer"))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = PackedRows(big.train, 512)
assert rows.batch(rows.rows_per_epoch(0) - 2, 4).num_targets > 1500
print(json.dumps({"grown": (after - before) * 1024, **big.report}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_sixty_megabytes_are_prepared_in_a_fraction_of_that(tmp_path: Path) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(12, 20))) for _ in range(200)]
    paragraph = " ".join(rng.choices(words, k=4_000))
    lines = []
    for number in range(3000):
        start = rng.randrange(len(paragraph) - 20_000)
        lines.append(orjson.dumps({"text": f"{number} {paragraph[start : start + 20_000]}"}) + b"\n")
    (tmp_path / "small.jsonl").write_bytes(b"".join(lines[:200]))
    (tmp_path / "big.jsonl").write_bytes(b"".join(lines))
    assert (tmp_path / "big.jsonl").stat().st_size > 60_000_000

    result = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, check=True)
    found = json.loads(result.stdout)
    assert found["documents"] + found["eval_documents"] == 3000
    assert found["tokens"] > 3_000_000
    assert found["grown"] < 25 * MEGABYTE
