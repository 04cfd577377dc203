"""Predictions and evaluations from model folders: in order, with scores, or with a clear refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from task_records import TASKS, TaskSetting, record_of

from workbench.errors import DataError, ModelError

MakeModel = Callable[..., tuple[str, TaskSetting]]
Ask = Callable[..., list[dict[str, Any]]]
PEFT = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def write(path: Path, records: list[dict[str, Any]]) -> str:
    """Records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def rows_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["row"] for event in events if event["event"] == "row"]


@PEFT
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("task", TASKS)
def test_answers_are_those_of_the_model_that_was_saved(
    model_of: MakeModel, ask: Ask, tmp_path: Path, task: str, lora: bool
) -> None:
    folder, setting = model_of(task, lora=lora, steps=3)
    records = [{"id": number, **record_of(task, number)} for number in range(70)]
    found = rows_of(ask("predict", model=folder, file=write(tmp_path / "in.jsonl", records)))
    assert [row["id"] for row in found] == list(range(70))
    assert all(row.items() >= record.items() for row, record in zip(found, records, strict=True))
    theirs = setting.objective.answers(setting.model, setting.records, 64, 4)
    ours = [row["prediction"] for row in found[: len(theirs)]]
    expected = [answer["prediction"] for answer in theirs]
    assert ours == (pytest.approx(expected, abs=1e-5) if task == "regression" else expected)


@PEFT
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("task", TASKS)
def test_a_file_is_evaluated_as_in_training(
    model_of: MakeModel, ask: Ask, tmp_path: Path, task: str, lora: bool
) -> None:
    folder, setting = model_of(task, lora=lora, steps=3)
    records = [record_of(task, number) for number in range(12)]
    *_, result = ask("evaluate_file", model=folder, file=write(tmp_path / "in.jsonl", records), max_length=48)
    batch = setting.held_out.batch(0, setting.held_out.rows_per_epoch(0))
    with torch.no_grad():
        output = setting.objective.loss(setting.model, setting.tensors(batch), batch)
    metrics = result["metrics"]
    # Spans: the softmax is over the padding too, and batches are padded otherwise.
    near = 0.05 if task == "span_extraction" else 1e-4
    assert metrics["eval_loss"] == pytest.approx(float(output.sums) / batch.counts[0], rel=near)
    for name, value in setting.objective.score(output.predictions).items():
        assert metrics[f"eval_{name}"] == pytest.approx(value, abs=1e-5)
    if task == "classification":
        matrix = result["confusion"]["matrix"]
        assert [sum(line) for line in matrix] == [4, 4, 4]
        assert [line["support"] for line in result["classes"]] == [4, 4, 4]
        right = sum(line[place] for place, line in enumerate(matrix))
        assert metrics["eval_accuracy"] == pytest.approx(right / 12)
    if task == "tagging":
        assert {line["label"] for line in result["classes"]} <= {"LOC", "PER"}


@PEFT
def test_adapters_from_elsewhere_have_numbered_labels(model_of: MakeModel, ask: Ask, tmp_path: Path) -> None:
    folder, _ = model_of("classification", lora=True, steps=3)
    file = write(tmp_path / "in.jsonl", [{"text": "the old king"}])
    (named,) = rows_of(ask("predict", model=folder, file=file))
    (Path(folder) / "config.json").unlink()
    base = json.loads((tmp_path / "base" / "config.json").read_text())
    for name in ("id2label", "label2id", "problem_type"):
        del base[name]
    (tmp_path / "base" / "config.json").write_text(json.dumps(base))
    (row,) = rows_of(ask("predict", model=folder, file=file))
    assert list(row["scores"]) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert list(row["scores"].values()) == pytest.approx(list(named["scores"].values()))


def test_lines_of_text_are_records(model_of: MakeModel, ask: Ask, tmp_path: Path) -> None:
    lines = tmp_path / "in.txt"
    lines.write_text("the old king\n\nan old queen walking\n")
    folder, _ = model_of("tagging")
    found = rows_of(ask("predict", model=folder, file=str(lines)))
    assert [row["tokens"] for row in found] == [["the", "old", "king"], ["an", "old", "queen", "walking"]]
    assert [len(row["prediction"]) for row in found] == [3, 4]
    folder, _ = model_of("classification")
    found = rows_of(ask("predict", model=folder, file=str(lines)))
    assert [row["text"] for row in found] == ["the old king", "an old queen walking"]
    assert sum(found[0]["scores"].values()) == pytest.approx(1)
    lines.write_text("who came? | the old king came\n")
    folder, _ = model_of("span_extraction")
    (row,) = rows_of(ask("predict", model=folder, file=str(lines)))
    assert row["prediction"] and row["prediction"] in row["context"]


def test_columns_can_be_named(model_of: MakeModel, ask: Ask, tmp_path: Path) -> None:
    folder, _ = model_of("classification")
    table = tmp_path / "in.tsv"
    table.write_text("good old king\tgood\nbad river\tbad\n")
    request = {"model": folder, "file": str(table), "columns": ["text", "label"]}
    assert [row["label"] for row in rows_of(ask("predict", **request))] == ["good", "bad"]
    *_, result = ask("evaluate_file", **request)
    assert result["rows"] == 2
    table.write_text("review\tstars\ngood old king\tgood\n")
    with pytest.raises(DataError, match="no column “text”; the columns are review, stars"):
        ask("predict", model=folder, file=str(table))
    renamed = {**request, "columns": {"text": "review", "label": "stars"}}
    assert rows_of(ask("predict", **renamed))[0]["text"] == "good old king"


def test_labels_that_the_model_does_not_know_are_refused(
    model_of: MakeModel, ask: Ask, tmp_path: Path
) -> None:
    folder, _ = model_of("classification")
    file = write(tmp_path / "in.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "goood"}])
    with pytest.raises(DataError, match="does not know the label “goood”") as caught:
        ask("evaluate_file", model=folder, file=file)
    assert caught.value.where.endswith("in.jsonl:2")
    assert "did you mean good?" in caught.value.hint


def test_records_of_another_kind_and_empty_files_are_refused(
    model_of: MakeModel, ask: Ask, tmp_path: Path
) -> None:
    folder, _ = model_of("classification")
    file = write(tmp_path / "in.jsonl", [record_of("tagging", 0)])
    for command in ("predict", "evaluate_file"):
        with pytest.raises(DataError, match="no column “text”; the columns are tokens, tags"):
            ask(command, model=folder, file=file)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "blank.txt").write_text("\n\n")
    with pytest.raises(DataError, match="empty"):
        ask("predict", model=folder, file=str(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match="no records"):
        ask("predict", model=folder, file=str(tmp_path / "blank.txt"))


def test_models_without_a_head_say_so(ask: Ask, tmp_path: Path) -> None:
    setting = TaskSetting("classification")
    folder = tmp_path / "encoder"
    setting.model.bert.save_pretrained(folder)
    setting.tokenizer.save_pretrained(folder)
    file = write(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(ModelError, match="encoder without a head") as caught:
        ask("predict", model=str(folder), file=file)
    assert "workbench train classify" in caught.value.hint


def test_a_masked_language_model_fills_masks(ask: Ask, tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    setting = TaskSetting("classification")
    folder = tmp_path / "mlm"
    model: Any = BertForMaskedLM(setting.model.config).eval()
    model.save_pretrained(folder)
    setting.tokenizer.save_pretrained(folder)
    texts = ["the [MASK] and queen", "an old [MASK] <mask>"]
    file = write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    first, second = rows_of(ask("predict", model=str(folder), file=file))
    assert [len(row["scores"]) for row in (first, second)] == [1, 2]
    encoded = setting.tokenizer("the[MASK] and queen".replace("the[MASK]", "the [MASK]"), return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[encoded["input_ids"] == setting.tokenizer.mask_token_id]
    best = setting.tokenizer.decode([int(logits.argmax())])
    assert first["scores"][0][0]["token"] == best and best.strip() in first["prediction"]
    with pytest.raises(DataError, match="no mask to fill"):
        ask("predict", model=str(folder), file=write(tmp_path / "none.jsonl", [{"text": "the king"}]))
