"""Records a second and peak memory of cleaning, against datatrove alone and a plain script with datasketch.

    python tests/benchmarks/cleaning_throughput.py DATA_FOLDER [--records 20000] [--rounds 3] [--times 10]
        [--ways WAY …] [--memory-megabytes 512]

Four ways over the same JSON Lines, each in a process of its own with one worker and one thread, in turns,
round by round: near copies by the workbench (candidates verified by exact Jaccard), by datatrove's four
stages of MinHash (14 bands of 8, SHA-1, for its xxHash does not take text with xxhash 4), and by a script
that puts datasketch's MinHash into its LSH and keeps what has no match; then Gopher's, C4's and FineWeb's
rules and datatrove's PII by the workbench with its logs of each record, and by the same filters of
datatrove's in one pipeline. Seconds are of the process's and its children's CPU, which a busy machine
disturbs least. `recall` is of the planted pairs (Jaccard 0.7 to 0.95), `wrong` what went without a like at
0.7 or above. Memory is the largest resident set of any process (getrusage), at once and at `--times` the
corpus; the workbench's search for copies may hold `--memory-megabytes` of it. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cleaning_corpus import MAX_WORDS, base_texts, near_copy

WAYS = ("workbench near", "datatrove near", "datasketch near", "workbench rules", "datatrove rules")
PLANTED = 0.1

# The lines of the corpus are no sentences: bounds are such that nearly all pass, and every rule is evaluated.
GOPHER_OFF = ("min_stop_words", "min_alpha_words_ratio", "min_avg_word_length")
C4_MILD: dict[str, Any] = {"filter_no_terminal_punct": False, "min_num_sentences": -1}
FINEWEB_MILD: dict[str, Any] = {"line_punct_thr": 0, "short_line_thr": 1, "char_duplicates_ratio": 1}


def make(data: Path, records: int, path: Path) -> dict[str, str]:
    """Write a corpus of lines of the base in new orders, a tenth of it near copies; gives copy to origin."""
    rng = random.Random(0)
    lines = [line for text in base_texts(data, code=False) for line in text.split("\n")]
    pairs: dict[str, str] = {}
    with path.open("w", encoding="utf-8") as file:
        for number in range(records):
            size = rng.randint(5, MAX_WORDS // 12)
            text = "\n".join(rng.choice(lines) for _ in range(size))
            file.write(json.dumps({"id": f"base-{number}", "text": text}) + "\n")
            if rng.random() < PLANTED and (made := near_copy(text, rng)):
                file.write(json.dumps({"id": f"near-{number}", "text": made[0]}) + "\n")
                pairs[f"near-{number}"] = f"base-{number}"
    return pairs


def by_workbench(path: Path, folder: Path, order: str, memory: int) -> list[str]:
    """The ids that stay."""
    import pyarrow.parquet as pq

    from workbench.data.cleaning.driver import main as clean
    from workbench.recipe.cleaning import load_cleaning
    from workbench.recipe.load import dump
    from workbench.store.cleaning import Cleaning
    from workbench.store.status import Status

    rest = ["executor.workers=1", f"executor.memory_megabytes={memory}", "pii.kinds=[email, ip]"]
    rest += ["report.bias=false", "report.diversity=false"]
    rest += [f"gopher_quality.{key}=null" for key in GOPHER_OFF]
    rest += [f"c4.{key}={json.dumps(value)}" for key, value in C4_MILD.items()]
    rest += [f"fineweb.{key}={value}" for key, value in FINEWEB_MILD.items()]
    recipe = load_cleaning("web", [f"data.sources=[{path}]", f"order=[{order}]", "run.name=x", *rest])
    cleaning = Cleaning(folder / "x")
    cleaning.path.mkdir()
    cleaning.recipe_path.write_text(dump(recipe))
    Status(objective="cleaning").write(cleaning.status_path)
    if clean(cleaning.path):
        raise SystemExit(json.dumps(cleaning.status().error))
    files = sorted((cleaning.result_path() / "data").glob("*.parquet"))
    return [identity for file in files for identity in pq.read_table(file, columns=["id"])["id"].to_pylist()]


def by_datatrove_near(path: Path, folder: Path) -> list[str]:
    """The ids that stay, by datatrove's four stages."""
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    from workbench.data.cleaning.words import TOKENIZER

    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    reader = JsonlReader(str(path.parent), glob_pattern=path.name)
    signatures, buckets, remove = (str(folder / name) for name in ("signatures", "buckets", "remove"))
    language: Any = TOKENIZER
    _run([reader, MinhashDedupSignature(signatures, config, language=language)], 1, folder / "l1")
    _run([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets, folder / "l2")
    _run([MinhashDedupCluster(buckets, remove, config=config)], 1, folder / "l3")
    writer = JsonlWriter(str(folder / "out"), compression=None)
    _run([reader, MinhashDedupFilter(remove), writer], 1, folder / "l4")
    return [json.loads(line)["id"] for file in (folder / "out").iterdir() for line in file.open()]


def by_datatrove_rules(path: Path, folder: Path) -> list[str]:
    """The ids that pass datatrove's filters."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from workbench.data.cleaning.words import TOKENIZER

    language: Any = TOKENIZER
    off: dict[str, Any] = {**dict.fromkeys(GOPHER_OFF), "max_non_alpha_words_ratio": None}
    off.pop("min_alpha_words_ratio")
    filters = [
        GopherQualityFilter(language=language, **off),
        GopherRepetitionFilter(language=language),
        C4QualityFilter(language=language, **C4_MILD),
        FineWebQualityFilter(language=language, **FINEWEB_MILD),
    ]
    reader = JsonlReader(str(path.parent), glob_pattern=path.name)
    _run(
        [reader, *filters, PIIFormatter(), JsonlWriter(str(folder / "out"), compression=None)],
        1,
        folder / "l1",
    )
    files = (folder / "out").iterdir() if (folder / "out").exists() else ()
    return [json.loads(line)["id"] for file in files for line in file.open()]


def _run(blocks: list[Any], tasks: int, logs: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor

    LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=str(logs)).run()


def by_datasketch(path: Path, folder: Path) -> list[str]:
    """The ids that stay: a record goes when the LSH knows one like it, as most scripts do it."""
    from datasketch import MinHash, MinHashLSH

    lsh, kept = MinHashLSH(threshold=0.7, num_perm=128), []
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            words = record["text"].lower().split()
            signature = MinHash(num_perm=128)
            signature.update_batch(
                {" ".join(words[at : at + 5]).encode() for at in range(max(1, len(words) - 4))}
            )
            if not lsh.query(signature):
                lsh.insert(record["id"], signature)
                kept.append(record["id"])
    return kept


def child(way: str, path: Path, memory: int) -> None:
    """One way in this process; prints its CPU seconds, peak memory and what stayed."""
    before = _seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if way == "workbench near":
            kept = by_workbench(path, folder, "near_duplicates", memory)
        elif way == "workbench rules":
            order = "gopher_quality, gopher_repetition, c4, fineweb, pii"
            kept = by_workbench(path, folder, order, memory)
        elif way == "datatrove near":
            kept = by_datatrove_near(path, folder)
        elif way == "datatrove rules":
            kept = by_datatrove_rules(path, folder)
        else:
            kept = by_datasketch(path, folder)
    kilobytes = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"seconds": _seconds() - before, "megabytes": kilobytes / 1024, "kept": kept}))


def _seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(way: str, path: Path, memory: int) -> dict[str, Any]:
    """One way in a process of its own."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, str(path), "--child", way, "--memory-megabytes", str(memory)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **threads},
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"{way}: {done.stderr[-2000:]}") from None
    return found


def judged(kept: list[str], pairs: dict[str, str], total: int) -> dict[str, Any]:
    """Recall of the planted pairs, and records that went and are in none."""
    there = set(kept)
    hits = sum(not (copy in there and origin in there) for copy, origin in pairs.items())
    partners = set(pairs) | set(pairs.values())
    numbers = {identity for identity in partners if identity not in there}
    return {"recall": round(hits / len(pairs), 4), "other_records_gone": total - len(there) - len(numbers)}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--memory-megabytes", type=int, default=512)
    parser.add_argument("--child", choices=WAYS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.data, options.memory_megabytes)
    with tempfile.TemporaryDirectory() as name:
        path, large = Path(name) / "one" / "corpus.jsonl", Path(name) / "many" / "corpus.jsonl"
        for place in (path, large):
            place.parent.mkdir()
        pairs = make(options.data, options.records, path)
        total = sum(1 for _ in path.open())
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
        for _ in range(options.rounds):
            for way in options.ways:
                found[way].append(run(way, path, options.memory_megabytes))
        answer: dict[str, Any] = {"records": total, "megabytes": round(path.stat().st_size / 1e6, 1)}
        for way, results in found.items():
            seconds = statistics.median(result["seconds"] for result in results)
            answer[way] = {
                "cpu_seconds": round(seconds, 2),
                "records_a_cpu_second": round(total / seconds),
                "peak_megabytes": round(max(result["megabytes"] for result in results)),
                "left": len(results[0]["kept"]),
                **(judged(results[0]["kept"], pairs, total) if way.endswith("near") else {}),
            }
        if options.times > 1:
            make(options.data, options.records * options.times, large)
            answer["megabytes_many"] = round(large.stat().st_size / 1e6, 1)
            for way in [way for way in options.ways if way.startswith("workbench")]:
                result = run(way, large, options.memory_megabytes)
                answer[way][f"peak_megabytes_{options.times}x"] = round(result["megabytes"])
                answer[way][f"cpu_seconds_{options.times}x"] = round(result["seconds"], 1)
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
