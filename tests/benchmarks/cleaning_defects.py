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

ORDER = "normalise, toxicity, boilerplate, pii, decontamination, exact_duplicates, near_duplicates"
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

    def __init__(self, corpus: Corpus, cleaning: Cleaning) -> None:
        self.corpus, self.cleaning = corpus, cleaning
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
        """A planted pair is found when one of the two went; what else went is right if its like is there."""
        rows = self.log("near_duplicates") + self.log("exact_duplicates")
        gone = {row["id"] for row in rows}
        bins: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        for identity, what in self.planted("near").items():
            name = f"{int(what['similarity'] * 20) / 20:.2f}"
            bins[name] += 1
            hits[name] += identity in gone or what["of"] in gone
        right = sum(self._really_near(row) for row in rows)
        return {
            **scores(hits.total(), bins.total(), right, len(rows)),
            "by_similarity": {name: f"{hits[name]}/{bins[name]}" for name in sorted(bins)},
        }

    def _really_near(self, row: dict[str, Any]) -> bool:
        # The log keeps the text of what stays for the first hundred of a shard; the rest is looked up.
        other = row["other"] or self.texts[self.ids[int(row["detail"]["of"].rpartition(":")[2]) - 1]]
        return similarity(row["before"], other) >= 0.7

    def pii(self) -> dict[str, Any]:
        """Found: the value is not in the result. Precision: of what was found in records with a planted value
        or a look-alike and no natural data of its own, how much was planted."""
        rows = {row["id"]: row for row in self.log("pii")}
        hits: Counter[str] = Counter()
        every: Counter[str] = Counter()
        for identity, what in self.planted("pii").items():
            if identity not in self.kept and identity not in rows:
                continue
            text = rows[identity]["after"] if identity in rows else self.kept[identity]
            every[what["kind"]] += 1
            hits[what["kind"]] += what["value"] not in text
        wrong = [row["before"] for identity, row in rows.items() if identity in self.planted("decoy")]
        false = sum(
            self.planted("decoy")[row["id"]] not in row["after"]
            for row in rows.values()
            if row["id"] in self.planted("decoy")
        )
        natural = sum(identity not in self.planted("pii") for identity in rows) - len(wrong)
        return {
            **scores(hits.total(), every.total(), hits.total(), hits.total() + false),
            "by_kind": {kind: f"{hits[kind]}/{every[kind]}" for kind in sorted(every)},
            "look_alikes_taken": f"{false}/{len(self.planted('decoy'))}",
            "records_of_the_base_with_personal_data": natural,
        }

    def lines(self, kind: str, step: str, harmless: str = "") -> dict[str, Any]:
        """Planted lines that are gone; and lines that went and were not planted."""
        rows = {row["id"]: row for row in self.log(step)}
        dropped_before = {
            row["id"]
            for name in ORDER.split(", ")[: ORDER.split(", ").index(step)]
            for row in self.log(name)
            if row["action"] == "dropped"
        }
        there = {
            identity: line for identity, line in self.planted(kind).items() if identity not in dropped_before
        }
        hits = sum(
            identity in rows and line not in (rows[identity]["after"] or "")
            for identity, line in there.items()
        )
        taken = 0
        for identity, row in rows.items():
            before, after = Counter(row["before"].split("\n")), Counter((row["after"] or "").split("\n"))
            lost = before - after
            taken += (
                lost.total()
                if row["action"] == "changed"
                else sum(line == there.get(identity) for line in lost)
            )
        found = scores(hits, len(there), hits, taken)
        if harmless:
            found["look_alikes_taken"] = sum(identity in rows for identity in self.planted(harmless))
        return found

    def leaked(self) -> dict[str, Any]:
        """Leaked questions whose record went; of others that went, whether 13 words in a row agree."""
        rows = {row["id"]: row for row in self.log("decontamination")}
        dropped = {
            row["id"]
            for name in ("toxicity", "boilerplate")
            for row in self.log(name)
            if row["action"] == "dropped"
        }
        there = {
            identity: what for identity, what in self.planted("leaked").items() if identity not in dropped
        }
        how = Counter(what["how"] for what in there.values())
        hits = Counter(what["how"] for identity, what in there.items() if identity in rows)
        right = sum(identity in there or self._agrees(row) for identity, row in rows.items())
        found = scores(hits.total(), len(there), right, len(rows))
        return {**found, "by_disguise": {name: f"{hits[name]}/{how[name]}" for name in how}}

    @staticmethod
    def _agrees(row: dict[str, Any]) -> bool:
        text, question = " ".join(plain_words(row["before"])), plain_words(row["detail"]["text"])
        size = min(13, len(question))
        return any(" ".join(question[at : at + size]) in text for at in range(len(question) - size + 1))


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
        judge = Judge(corpus, runs["once"])
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
