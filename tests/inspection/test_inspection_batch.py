"""The label inspector shows what training sees."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_answers import chat_tokenizer, rankings, scorer

from workbench.cli.data.totals_text import totals_text
from workbench.errors import DataError, ModelError, UsageError
from workbench.inspection.batch import batch
from workbench.inspection.rows import runs_of
from workbench.inspection.totals import histogram, summary
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.recipe import Recipe
from workbench.training.prepare import prepare_recipe
from workbench.training.starting_model import row_length
from workbench.tui.data.totals import totals_lines

CASES: dict[str, dict[str, Any]] = {
    "clm": {},
    "mlm": {"model__family": "bert", "objective__mlm_probability": 0.3},
    "rtd": {"model__family": "electra"},
    "plm": {"model__family": "xlnet"},
    "denoise": {"model__family": "t5"},
}
SIZE = {"model__vocab_size": 420}


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody hears."""


def arrays_of(mapping: dict[str, Any], side: str, start: int, count: int) -> dict[str, Any]:
    """What the training loop would get."""
    recipe = Recipe.model_validate(mapping)
    length = row_length(recipe, context_of(recipe.model))
    prepared = prepare_recipe(recipe, length, silent)
    objective = OBJECTIVES[recipe.objective.name](recipe, prepared.tokenizer)
    rows = objective.rows(prepared.train, length, training=True)
    if side == "eval":
        rows = objective.rows(prepared.eval, length, training=False)
    return rows.batch(start, count).arrays


def small(recipe: Any, name: str) -> dict[str, Any]:
    mapping: dict[str, Any] = recipe(objective__name=name, **CASES[name])
    mapping["model"]["vocab_size"] = 420
    return mapping


@pytest.mark.parametrize("side", ["train", "eval"])
@pytest.mark.parametrize("name", list(CASES))
def test_rows_are_those_of_training(recipe: Any, name: str, side: Any) -> None:
    mapping = small(recipe, name)
    shown = batch(mapping, silent, side=side, start=1, count=2)
    arrays = arrays_of(mapping, side, 1, 2)
    assert [row["index"] for row in shown["rows"]] == [1, 2]
    for row, ids in zip(shown["rows"], arrays["input_ids"].tolist(), strict=True):
        first = row["streams"][0]
        assert [token["id"] for token in first["tokens"]] == ids[: len(first["tokens"])]
        for stream in row["streams"]:
            assert len(stream["attends"]) == len(stream["tokens"])
            last = max((run[1] for runs in stream["attends"] for run in runs), default=0)
            assert last < len(stream["tokens"])
    states = Counter(token["state"] for row in shown["rows"] for s in row["streams"] for token in s["tokens"])
    assert shown["states"] == dict(states)
    assert shown["report"]["rows"] == shown["rows_per_epoch"] or side == "eval"
    assert json.loads(json.dumps(shown)) == shown, "plain values alone"


def test_causal_targets_are_the_next_tokens(recipe: Any) -> None:
    (row,) = batch(small(recipe, "clm"), silent, count=1)["rows"]
    tokens = row["streams"][0]["tokens"]
    for here, following in zip(tokens, tokens[1:], strict=False):
        if here["document"] == following["document"]:
            assert here["target"] == following["id"] and here["target_text"] == following["text"]
        # Marked is what is predicted: all but the first token of a document.
        assert (following["state"] == "supervised") == (here["document"] == following["document"])
    assert tokens[0]["state"] != "supervised"
    for place, runs in enumerate(row["streams"][0]["attends"]):
        assert runs == [[place - tokens[place]["position"], place]]


def test_what_a_mask_hides_is_told(recipe: Any) -> None:
    shown = batch(small(recipe, "mlm"), silent, count=4)
    tokens = [token for row in shown["rows"] for token in row["streams"][0]["tokens"]]
    masked = [token for token in tokens if token["state"] == "masked"]
    assert masked and all(
        token["text"] == "[MASK]" and token["original_text"] and token["original"] == token["target"]
        for token in masked
    )
    others = {"context", "special", "padding"}
    assert all(token["target"] is None for token in tokens if token["state"] in others)


def test_a_task_tells_labels_and_their_counts(recipe: Any, tmp_path: Path) -> None:
    from workbench.inspection.train_tokenizer import train_tokenizer

    bert = recipe(objective__name="mlm", model__family="bert")
    train_tokenizer(bert, 320, str(tmp_path / "tokenizer"), silent)
    path = tmp_path / "labelled.jsonl"
    lines = [{"text": f"the dog {n} runs", "label": ["bad", "good"][n % 3 == 0]} for n in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mapping = recipe(objective__name="classification", model__family="bert", data__sources=[str(path)])
    with pytest.raises(ModelError, match="needs a tokenizer"):
        batch(mapping, silent)
    mapping["model"]["tokenizer_name_or_path"] = str(tmp_path / "tokenizer")
    shown = batch(mapping, silent, count=3)
    assert sum(shown["labels"].values()) == shown["data"]["documents"]
    assert shown["labels"].keys() == {"bad", "good"}
    assert all(row["label"].strip() for row in shown["rows"])


def test_how_a_run_may_write_answers_otherwise_is_said(recipe: Any, tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    scorer(tokenizer).save_pretrained(tmp_path / "model")
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in rankings(12)))
    shown = {}
    for name in ("reward", "dpo"):
        mapping = recipe(objective__name=name, data__sources=[str(path)], data__max_length=160)
        mapping["model"] = {"model_name_or_path": str(tmp_path / "model")}
        shown[name] = batch(mapping, silent)
    assert shown["reward"]["form"].startswith("Each answer is shown behind its prompt")
    assert shown["dpo"]["form"].startswith("A prompt is shown once")
    # As is said: the rows of one have the prompt in each stream, those of the other once.
    assert all(len(row["streams"]) > 1 for row in shown["reward"]["rows"])
    assert all(len(row["streams"]) == 1 for row in shown["dpo"]["rows"])
    assert "shown behind" in totals_text(shown["reward"])
    assert any("shown behind" in str(line) for line in totals_lines(shown["reward"]))


def test_of_a_conversation_what_the_assistant_says_is_marked_to_its_end(recipe: Any, tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    scorer(tokenizer).save_pretrained(tmp_path / "model")
    path = tmp_path / "talks.jsonl"
    talk = {
        "messages": [{"role": r, "content": c} for r, c in (("user", "say one"), ("assistant", "one two"))]
    }
    path.write_text(f"{json.dumps(talk)}\n" * 3)
    mapping = recipe(objective__name="sft", data__sources=[str(path)], data__max_length=160)
    mapping["data"] |= {"packing": False, "eval_fraction": 0.0}
    mapping["model"] = {"model_name_or_path": str(tmp_path / "model")}
    (row,) = batch(mapping, silent, count=1)["rows"]
    tokens = row["streams"][0]["tokens"]
    said = "".join(token["text"] for token in tokens if token["state"] == "supervised")
    assert said == "one two<|im_end|>"


def test_rows_that_are_not_there_are_refused(recipe: Any) -> None:
    mapping = small(recipe, "clm")
    total = batch(mapping, silent, count=1)["rows_per_epoch"]
    assert len(batch(mapping, silent, start=total - 1, count=9)["rows"]) == 1
    with pytest.raises(UsageError, match="no row"):
        batch(mapping, silent, start=total)
    mapping["data"]["eval_fraction"] = 0.0
    with pytest.raises(DataError, match="not one row"):
        batch(mapping, silent, side="eval")


def test_another_recipe_is_not_answered_from_the_last(recipe: Any) -> None:
    mapping = small(recipe, "mlm")
    mapping["objective"]["mlm_probability"] = 0.1
    few = batch(mapping, silent, count=8)["states"].get("masked", 0)
    mapping["objective"]["mlm_probability"] = 0.6
    assert batch(mapping, silent, count=8)["states"]["masked"] > 3 * few


def test_runs_are_what_is_visible() -> None:
    visible = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    assert runs_of(visible) == [[[0, 1], [3, 3]], [], [[0, 3]]]
    random = np.random.default_rng(0).random((20, 33)) < 0.5
    again = np.zeros_like(random)
    for row, runs in enumerate(runs_of(random)):
        for first, last in runs:
            again[row, first : last + 1] = True
    assert (again == random).all()


def test_bins_double_and_lose_nothing() -> None:
    lengths = np.array([1, 2, 3, 4, 7, 8, 1023, 1024])
    bins = histogram(lengths)
    assert [(b["from"], b["to"], b["count"]) for b in bins[:4]] == [
        (1, 1, 1),
        (2, 3, 2),
        (4, 7, 2),
        (8, 15, 1),
    ]
    assert (bins[-1]["from"], bins[-1]["count"], bins[-2]["count"]) == (1024, 1, 1)
    assert sum(b["tokens"] for b in bins) == lengths.sum()
    assert summary(lengths)["median"] == 5.5 and histogram(lengths[:0]) == []
