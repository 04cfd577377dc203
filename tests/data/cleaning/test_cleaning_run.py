"""Whole cleanings: what goes and what stays; the same bytes whatever the workers, killed or not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.data.cleaning.conftest import (
    QUESTION,
    contents,
    make_cleaning,
    prose,
    rows_of,
    run_cleaning,
    write_lines,
)
from workbench.data.cleaning.plan import make_plan
from workbench.errors import DataError, RecipeError, RunError, StorageError
from workbench.recipe.cleaning import load_cleaning
from workbench.store.cleaning import Cleaning
from workbench.store.cleaning_log import StepLogReader
from workbench.store.cleaning_steps import StepReader


def counts_of(cleaning: Cleaning) -> dict[str, Any]:
    return {step.name: step for step in StepReader(cleaning).read()}


def test_each_defect_goes_and_is_told(cleaned: Cleaning) -> None:
    counts = counts_of(cleaned)
    assert counts["exact_duplicates"].counts["dropped"] == 2
    assert counts["near_duplicates"].counts["dropped"] == 3
    assert counts["decontamination"].counts["dropped"] == 1
    assert counts["toxicity"].counts["changed"] == 5
    assert counts["boilerplate"].counts["changed"] == 12
    assert counts["pii"].found == {"email": 5, "phone": 5}
    text = "\n".join(row["text"] for row in rows_of(cleaned))
    assert "anna" not in text and "moron" not in text and "newsletter" not in text and QUESTION not in text
    assert "[EMAIL]" in text


def test_every_record_is_accounted_for(cleaned: Cleaning) -> None:
    steps = StepReader(cleaned).read()
    for step, following in zip(steps, steps[1:], strict=False):
        assert step.came == step.left + step.counts["dropped"]
        assert following.came == step.left
        log = StepLogReader(cleaned, step.name)
        assert len(log) == step.counts["dropped"] + step.counts["changed"]
    assert steps[-1].left == len(rows_of(cleaned)) == cleaned.report()["mixture"]["total"]["records"]


def test_other_columns_stay(cleaned: Cleaning) -> None:
    assert {row["url"] for row in rows_of(cleaned)} <= {f"u{n}" for n in range(120)}
    assert set(rows_of(cleaned)[0]) == {"text", "url"}


def test_a_log_names_file_line_and_what_stays(cleaned: Cleaning, corpus: Path) -> None:
    lines = [json.loads(line) for line in corpus.read_text().splitlines()]
    for row in StepLogReader(cleaned, "near_duplicates").page(0, 10):
        path, _, number = row["where"].rpartition(":")
        assert path == str(corpus) and lines[int(number) - 1]["text"] == row["before"]
        other = int(row["detail"]["of"].rpartition(":")[2])
        assert other < int(number) and lines[other - 1]["text"] == row["other"]
        assert row["detail"]["value"] >= 0.7


def test_a_log_is_chosen_from_by_reason(cleaned: Cleaning) -> None:
    log = StepLogReader(cleaned, "toxicity", reason="threat")
    assert len(log) == 5 and all(row["reason"] == "threat" for row in log.page(0, 5))
    assert log.page(4, 5)[0]["number"] == 4
    with pytest.raises(IndexError):
        log.get(5)


def test_a_log_may_hold_no_text(tmp_path: Path) -> None:
    # The footer's line is quoted in the details too.
    lines = [{"text": f"{prose(random.Random(n))}\nRead more on our pages every day"} for n in range(3)]
    path = write_lines(tmp_path / "a.jsonl", [*lines, lines[0]])
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "order=[boilerplate, exact_duplicates]",
        "boilerplate.min_records=3",
        "report.keep_text=none",
        "executor.workers=1",
    )
    assert len(rows_of(run_cleaning(cleaning))) == 3
    logs = [StepLogReader(cleaning, step).page(0, 9) for step in ("boilerplate", "exact_duplicates")]
    assert [len(log) for log in logs] == [4, 1]
    for row in [*logs[0], *logs[1]]:
        assert row["before"] is row["after"] is row["other"] is None
        assert "line" not in row["detail"] and row["where"].startswith(str(path))


def test_the_card_is_a_dataset_card(cleaned: Cleaning) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard(cleaned.card_path().read_text())
    assert card.data.to_dict()["configs"][0]["data_files"][0]["path"] == "data/*.parquet"
    assert "near_duplicates" in card.text and "| email | 5 |" in card.text


@pytest.mark.slow
def test_workers_and_a_kill_change_no_byte(cleaned: Cleaning, tmp_path: Path) -> None:
    recipe = cleaned.recipe_path.read_text().replace("workers: 1", "workers: 2")
    other = Cleaning(tmp_path / "a")
    other.path.mkdir()
    other.recipe_path.write_text(recipe)
    cleaned.status().__class__(objective="cleaning").write(other.status_path)
    kills = 0
    for wanted in (2, 5, 9, 99):
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.data.cleaning", str(other.path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None:
            done = len(list((other.path / "logs").glob("*/done")))
            if done >= wanted:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
    assert kills == 3 and other.status().state == "finished"
    assert contents(other.result_path()) == contents(cleaned.result_path())
    assert contents(other.steps_path) == contents(cleaned.steps_path)
    assert other.report_path.read_bytes() == cleaned.report_path.read_bytes()


def test_turns_of_a_conversation_are_cleaned_and_kept(tmp_path: Path) -> None:
    rng = random.Random(1)
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"{prose(rng, 2)} I am max{n}@mail.org"},
                {"role": "assistant", "content": [{"type": "text", "text": f"Fine, max{n}@mail.org."}]},
            ],
            "tools": [],
        }
        for n in range(4)
    ]
    path = write_lines(tmp_path / "talks.jsonl", talks)
    cleaning = make_cleaning(
        tmp_path / "c",
        "conversations",
        f"data.sources=[{path}]",
        "pii.replacement=numbered",
        "output.format=jsonl",
        "executor.workers=1",
        "language.enabled=false",
        "near_duplicates.enabled=false",
    )
    rows = rows_of(run_cleaning(cleaning))
    assert len(rows) == 4
    for row in rows:
        user, assistant = row["messages"]
        assert user["content"].endswith("[EMAIL_1]") and assistant["content"][0]["text"] == "Fine, [EMAIL_1]."
        assert user["role"] == "user" and row["tools"] == []


def test_a_rule_that_drops_everything_is_named_with_what_it_saw(tmp_path: Path) -> None:
    rng = random.Random(2)
    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(rng, 1)} for _ in range(30)])
    cleaning = make_cleaning(tmp_path / "c", "web", f"data.sources=[{path}]", "language.enabled=false")
    with pytest.raises(DataError) as caught:
        run_cleaning(cleaning)
    assert "gopher_quality drops all 30 records" in caught.value.message
    assert "gopher_short_doc" in caught.value.message and "observed: 12" in caught.value.message
    assert caught.value.where == "gopher_quality.min_doc_words"
    assert not cleaning.result_path().exists()


def test_a_rule_that_drops_the_rest_is_seen_at_the_end(tmp_path: Path) -> None:
    # No single record shows that each has nothing but the line that all have.
    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(1), 2)}] * 5)
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "executor.workers=1",
        "boilerplate.min_records=3",
        "gopher_repetition.enabled=false",
    )
    with pytest.raises(DataError, match="boilerplate drops all 5 records"):
        run_cleaning(cleaning)
    assert not cleaning.result_path().exists()


def test_bad_input_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n{"text": \n')
    cleaning = make_cleaning(tmp_path / "c", "text", f"data.sources=[{path}]")
    with pytest.raises(DataError) as caught:
        run_cleaning(cleaning)
    assert caught.value.where == f"{path}:2"
    with pytest.raises(RecipeError) as wrong:
        load_cleaning("web", ["near_duplicates.treshold=0.8"])
    assert wrong.value.hint == "did you mean near_duplicates.threshold?"
    write_lines(path, [{"text": "good"}])
    missing = make_cleaning(
        tmp_path / "d",
        "text",
        f"data.sources=[{path}]",
        f"decontamination.eval_sources=[{tmp_path}/exam.jsonl]",
    )
    with pytest.raises(DataError, match=r"exam\.jsonl” does not exist"):
        run_cleaning(missing)
    beside = make_cleaning(tmp_path / "e", "text", f"data.sources=[{path}]", "pii.columns=[autor]")
    with pytest.raises(DataError, match="no record of a sample of 1 has the column “autor”"):
        run_cleaning(beside)
    labelled = write_lines(tmp_path / "l.jsonl", [{"text": "mine", "label": "good"}])
    labels = make_cleaning(tmp_path / "f", "text", f"data.sources=[{labelled}]", "pii.columns=[label]")
    with pytest.raises(DataError, match="“label” holds the labels of records of the kind classification"):
        run_cleaning(labels)


def test_sources_that_changed_are_not_mixed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(n))} for n in range(3)])
    cleaning = make_cleaning(tmp_path / "c", "text", f"data.sources=[{path}]", "executor.workers=1")
    (cleaning.path / "plan.json").write_bytes(make_plan(cleaning.recipe()).to_json())
    write_lines(path, [{"text": "another"}])
    with pytest.raises(DataError, match="not what they were"):
        run_cleaning(cleaning)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(n))} for n in range(3)])
    cleaning = make_cleaning(tmp_path / "c", "text", f"data.sources=[{path}]", "executor.workers=1")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workbench.data.cleaning.layout.os.fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        run_cleaning(cleaning)
    monkeypatch.undo()
    left = cleaning.steps_path / "01-normalise" / ".00000.parquet.node.1.tmp"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    assert len(rows_of(run_cleaning(cleaning))) == 3
    assert not left.exists()


def test_killed_between_the_result_and_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.data.cleaning.driver import Driver

    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(n))} for n in range(3)])
    folder = tmp_path / "out"
    cleaning = make_cleaning(
        tmp_path / "c", "text", f"data.sources=[{path}]", "executor.workers=1", f"output.folder={folder}"
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workbench.data.cleaning.driver.sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cleaning(cleaning)
    with monkeypatch.context() as patch:
        patch.setattr(Driver, "_tidy", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cleaning(cleaning)
    before = contents(folder)
    assert len(rows_of(run_cleaning(cleaning))) == 3 and contents(folder) == before
    other = make_cleaning(tmp_path / "d", "text", f"data.sources=[{path}]", f"output.folder={folder}")
    with pytest.raises(RunError, match="not empty"):
        run_cleaning(other)
