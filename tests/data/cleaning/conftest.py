"""A small corpus with known defects, and a cleaning of it, made once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from workbench.recipe.cleaning import CleaningRecipe, load_cleaning
from workbench.recipe.load import dump
from workbench.store.cleaning import Cleaning
from workbench.store.status import Status

_WORDS = """
the river valley morning people walked slowly toward market where farmers sold bread cheese apples and
children laughed while old women told stories about winter storms that had once covered every road with deep
snow so nobody could travel between villages for many weeks until spring brought warm rain again
"""
WORDS = _WORDS.split()

Make = Callable[..., Cleaning]


def sentence(rng: random.Random, words: int = 12) -> str:
    """A sentence of common words."""
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def prose(rng: random.Random, sentences: int = 8) -> str:
    """A text that no rule minds."""
    return " ".join(sentence(rng) for _ in range(sentences))


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Records as JSON Lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def make_cleaning(folder: Path, preset: str, *overrides: str) -> Cleaning:
    """The folder of a cleaning, not begun."""
    recipe: CleaningRecipe = load_cleaning(preset, [f"run.name={folder.name}", *overrides])
    cleaning = Cleaning(folder)
    folder.mkdir(parents=True)
    cleaning.recipe_path.write_text(dump(recipe), encoding="utf-8")
    Status(objective="cleaning").write(cleaning.status_path)
    return cleaning


def run_cleaning(cleaning: Cleaning, *, checks: bool = True) -> Cleaning:
    """Clean in this process. Raises what the process would tell in its status."""
    from workbench.data.cleaning.driver import Driver

    driver = Driver(cleaning, Status())
    driver.run(checks=checks)
    driver.end("finished")
    return cleaning


def rows_of(cleaning: Cleaning) -> list[dict[str, Any]]:
    """The records of the result, in order."""
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    for path in sorted((cleaning.result_path() / "data").iterdir()):
        if path.suffix == ".parquet":
            found += pq.read_table(path).to_pylist()
        else:
            found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 texts: copies, near copies, addresses, abuse and recurring lines among plain ones."""
    rng = random.Random(5)
    texts = [prose(rng) for _ in range(80)]
    texts += [texts[3], texts[7].upper()]
    for number in (10, 11, 12):
        words = texts[number].split()
        words[20] = "mountain"
        texts.append(" ".join(words))
    texts += [
        f"{prose(rng)} Write to anna.{n}@mail.example.net or call +1 415-555-{2670 + n}." for n in range(5)
    ]
    abuse = "You are a stupid moron and I will kill you."
    texts += [
        "\n".join([prose(rng, 3), prose(rng, 3), abuse, prose(rng, 3), prose(rng, 3)]) for _ in range(5)
    ]
    footer = "Subscribe to our newsletter and never miss a story again"
    texts += [f"{prose(rng)}\n{footer}" for _ in range(12)]
    texts += [f"{prose(rng, 3)} {QUESTION} {prose(rng, 3)}", "blank" * 3]
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    return write_lines(path, [{"text": text, "url": f"u{n}"} for n, text in enumerate(texts)])


QUESTION = (
    "A farmer has seventeen sheep and buys twice as many goats, then sells nine of all his animals; "
    "how many does he keep?"
)


@pytest.fixture(scope="session")
def cleaned(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Cleaning:
    """The corpus, cleaned by one worker in several shards."""
    folder = tmp_path_factory.mktemp("cleanings")
    exam = write_lines(folder / "exam.jsonl", [{"question": QUESTION, "answer": "42"}])
    cleaning = make_cleaning(
        folder / "a",
        "text",
        f"data.sources=[{corpus}]",
        f"decontamination.eval_sources=[{exam}]",
        "executor.shard_megabytes=0.02",
        "executor.workers=1",
    )
    return run_cleaning(cleaning)
