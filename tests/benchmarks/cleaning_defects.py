"""Precision and recall of cleaning on planted defects, and the same bytes twice and after kills.

    python tests/benchmarks/cleaning_defects.py DATA_FOLDER [--records 12000] [--defects 5000] [--kills 6]

DATA_FOLDER holds tinyshakespeare.txt, gsm8k/, sst2/ and wikiann-en/. Prints JSON: of each kind of defect how
many were planted, found, and what else was found; near copies by similarity, personal data by kind. What is
found beyond the planted is judged by other means: of near copies the exact Jaccard of strings, of leaked
questions whether 13 words in a row really agree; natural personal data of the base is counted apart. A record
of the base that was chosen for one defect has no other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cleaning_corpus import Corpus, make_corpus, similarity, write

from workbench.data.cleaning.words import plain_words
from workbench.recipe.cleaning import load_cleaning
from workbench.recipe.load import dump
from workbench.store.cleaning import Cleaning
from workbench.store.cleaning_log import StepLogReader
from workbench.store.status import Status

ORDER = "normalise, pii, toxicity, boilerplate, decontamination, exact_duplicates, near_duplicates"
SHARD_MEGABYTES = 1.0


def cleaning_of(folder: Path, corpus: Path, exam: Path, workers: int) -> Cleaning:
    """A cleaning of the corpus, not begun."""
    overrides = [
        "run.name=defects",
        f"data.sources=[{corpus}]",
        f"order=[{ORDER}]",
        f"decontamination.eval_sources=[{exam}]",
        f"executor.shard_megabytes={SHARD_MEGABYTES}",
        f"executor.workers={workers}",
        "report.bias=false",
    ]
    cleaning = Cleaning(folder)
    folder.mkdir()
    cleaning.recipe_path.write_text(dump(load_cleaning("text", overrides)))
    Status(objective="cleaning").write(cleaning.status_path)
    return cleaning


def clean(cleaning: Cleaning, kills: int, rng: random.Random) -> tuple[float, int]:
    """Clean in a process, killed so many times with all its workers; seconds, and how often it was killed."""
    begin, done = time.monotonic(), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.data.cleaning", str(cleaning.path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if done < kills:
            try:
                process.wait(rng.uniform(2.0, 12.0))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                done += 1
        process.wait()
        if cleaning.status().state in ("finished", "failed"):
            break
    if cleaning.status().state != "finished":
        raise SystemExit(json.dumps(cleaning.status().error))
    return time.monotonic() - begin, done


def contents(cleaning: Cleaning) -> dict[str, bytes]:
    """Every file of the result and of the steps."""
    return {
        path.relative_to(cleaning.path).as_posix(): path.read_bytes()
        for folder in (cleaning.result_path(), cleaning.steps_path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def result_of(cleaning: Cleaning) -> dict[str, str]:
    """Texts of the result by id."""
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    for path in sorted((cleaning.result_path() / "data").glob("*.parquet")):
        found.update((row["id"], row["text"]) for row in pq.read_table(path).to_pylist())
    return found


class Judge:
    """Compares what was done with what was planted."""

    def __init__(self, corpus: Corpus, cleaning: Cleaning, exam: Path) -> None:
        self.corpus, self.cleaning = corpus, cleaning
        self.exam = exam.read_text(encoding="utf-8").splitlines()
        self.kept = result_of(cleaning)
        self.ids = [record["id"] for record in corpus.records]
        self.texts = {record["id"]: record["text"] for record in corpus.records}

    def log(self, step: str) -> list[dict[str, Any]]:
        """What a step did, each with the id of its record."""
        log = StepLogReader(self.cleaning, step)
        rows = log.page(0, len(log))
        for row in rows:
            row["id"] = self.ids[int(row["where"].rpartition(":")[2]) - 1]
        return rows

    def planted(self, kind: str) -> dict[str, Any]:
        return self.corpus.planted.get(kind, {})

    def near(self) -> dict[str, Any]:
        """A planted pair that reached the step is found when one of the two went; what else went is right if
        its like is there."""
        rows = self.log("near_duplicates") + self.log("exact_duplicates")
        gone, before = {row["id"] for row in rows}, self.gone_before("exact_duplicates")
        bins: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        for identity, what in self.planted("near").items():
            if identity in before or what["of"] in before:
                continue
            name = f"{int(what['similarity'] * 20) / 20:.2f}"
            bins[name] += 1
            hits[name] += identity in gone or what["of"] in gone
        right = sum(self._really_near(row) for row in rows)
        return {
            **scores(hits.total(), bins.total(), right, len(rows)),
            "by_similarity": {name: f"{hits[name]}/{bins[name]}" for name in sorted(bins)},
        }

    def gone_before(self, step: str) -> set[str]:
        """Records that an earlier step dropped."""
        order = ORDER.split(", ")
        return {
            row["id"]
            for name in order[: order.index(step)]
            for row in self.log(name)
            if row["action"] == "dropped"
        }

    def _really_near(self, row: dict[str, Any]) -> bool:
        # The log keeps the text of what stays for the first hundred of a shard; the rest is looked up.
        other = row["other"] or self.texts[self.ids[int(row["detail"]["of"].rpartition(":")[2]) - 1]]
        return similarity(row["before"], other) >= 0.7

    def pii(self) -> dict[str, Any]:
        """Found: the value is not behind the step. Precision: of what was found of planted values and
        look-alikes, how much was planted."""
        rows = {row["id"]: row for row in self.log("pii")}
        every: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        for identity, what in self.planted("pii").items():
            every[what["kind"]] += 1
            hits[what["kind"]] += identity in rows and what["value"] not in rows[identity]["after"]
        decoys = self.planted("decoy")
        false = sum(decoys[key] not in row["after"] for key, row in rows.items() if key in decoys)
        natural = sum(key not in self.planted("pii") for key in rows) - false
        return {
            **scores(hits.total(), every.total(), hits.total(), hits.total() + false),
            "by_kind": {kind: f"{hits[kind]}/{every[kind]}" for kind in sorted(every)},
            "look_alikes_taken": f"{false}/{len(decoys)}",
            "records_of_the_base_with_personal_data": natural,
        }

    def lines(self, kind: str, step: str, harmless: str = "") -> dict[str, Any]:
        """Planted lines that are gone; and lines that went and were not planted."""
        rows, before = {row["id"]: row for row in self.log(step)}, self.gone_before(step)
        there = {key: line for key, line in self.planted(kind).items() if key not in before}
        hits = sum(key in rows and line not in (rows[key]["after"] or "") for key, line in there.items())
        taken: Counter[str] = Counter()
        for row in rows.values():
            if row["action"] == "changed":
                taken.update(Counter(row["before"].split("\n")) - Counter(row["after"].split("\n")))
        planted = set(self.planted(kind).values())
        right = sum(count for line, count in taken.items() if line in planted)
        found = scores(hits, len(there), right, taken.total())
        if harmless:
            found["look_alikes_taken"] = sum(key in rows for key in self.planted(harmless))
        if step == "boilerplate":
            found["taken_that_recur"] = round(self._recurring(taken), 4)
        return found

    def _recurring(self, taken: Counter[str]) -> float:
        """The share of the lines that went that really stand in enough records, numbers all alike."""
        holders: dict[str, set[str]] = {}
        # As the step saw them: behind those that scrub and take lines out before it.
        came = {record["id"]: record["text"] for record in self.corpus.records}
        for step in ("pii", "toxicity"):
            came.update((row["id"], row["after"] or "") for row in self.log(step))
        for record in self.corpus.records:
            for line in came[record["id"]].split("\n"):
                holders.setdefault(" ".join(plain_words(line)), set()).add(record["id"])
        right = sum(
            count for line, count in taken.items() if len(holders.get(" ".join(plain_words(line)), ())) >= 10
        )
        return right / taken.total() if taken else 1.0

    def leaked(self) -> dict[str, Any]:
        """Leaked questions whose record went; of others that went, whether 13 words in a row agree."""
        rows, before = (
            {row["id"]: row for row in self.log("decontamination")},
            self.gone_before("decontamination"),
        )
        there = {key: what for key, what in self.planted("leaked").items() if key not in before}
        how = Counter(what["how"] for what in there.values())
        hits = Counter(what["how"] for key, what in there.items() if key in rows)
        right = sum(key in there or self._agrees(row) for key, row in rows.items())
        found = scores(hits.total(), len(there), right, len(rows))
        natural = len(rows) - hits.total()
        return {
            **found,
            "of_the_base": natural,
            "by_disguise": {name: f"{hits[name]}/{how[name]}" for name in how},
        }

    def _agrees(self, row: dict[str, Any]) -> bool:
        text = " ".join(plain_words(row["before"]))
        number = int(row["detail"]["set"].rpartition(":")[2])
        item = json.loads(self.exam[number - 1])
        for part in (item["question"], item["answer"]):
            words = plain_words(part)
            size = min(13, len(words))
            if any(" ".join(words[at : at + size]) in text for at in range(len(words) - size + 1)):
                return True
        return False


def scores(hits: int, planted: int, right: int, found: int) -> dict[str, Any]:
    """Recall of what was planted, precision of what was found."""
    return {
        "planted": planted,
        "found": hits,
        "recall": round(hits / planted, 4) if planted else None,
        "taken": found,
        "precision": round(right / found, 4) if found else None,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--records", type=int, default=12_000)
    parser.add_argument("--defects", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    corpus = make_corpus(options.data, options.records, options.defects, options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, exam = folder / "corpus.jsonl", options.data.absolute() / "gsm8k" / "test.jsonl"
        write(corpus, path)
        runs = {
            way: cleaning_of(folder / way, path, exam, workers)
            for way, workers in (("once", 1), ("again", 2), ("killed", 2))
        }
        rng = random.Random(options.seed)
        seconds = {way: clean(run, options.kills if way == "killed" else 0, rng) for way, run in runs.items()}
        judge = Judge(corpus, runs["once"], exam)
        first = contents(runs["once"])
        print(
            json.dumps(
                {
                    "records": len(corpus.records),
                    "megabytes": round(path.stat().st_size / 1e6, 1),
                    "left": len(judge.kept),
                    "near_duplicates": judge.near(),
                    "personal_data": judge.pii(),
                    "boilerplate": judge.lines("boilerplate", "boilerplate"),
                    "toxic": judge.lines("toxic", "toxicity", "harmless"),
                    "leaked": judge.leaked(),
                    "seconds": {way: round(taken, 1) for way, (taken, _) in seconds.items()},
                    "killed": seconds["killed"][1],
                    "two_workers_same_bytes": contents(runs["again"]) == first,
                    "after_kills_same_bytes": contents(runs["killed"]) == first,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
