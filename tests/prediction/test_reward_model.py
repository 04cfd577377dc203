"""A reward model used: answers of a file scored, rankings of one evaluated, adapters as the whole model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from ranked_answers import LENGTH, chat_tokenizer, rankings, scorer

from workbench.errors import DataError, ModelError
from workbench.models.adapt import adapt
from workbench.models.purpose import Purpose
from workbench.models.reward_head import is_reward_model, pad_with
from workbench.objectives.reward.scoring import RewardScorer
from workbench.recipe import TuningSection
from workbench.training.checkpoint import save_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning"),
]
Ask = Callable[..., list[dict[str, Any]]]
SHIFT = 2.5


def saved(folder: Path, *, lora: bool = False) -> str:
    """A reward model as a run leaves it, its zero shifted."""
    tokenizer = chat_tokenizer()
    model = scorer(tokenizer)
    if lora:
        model.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        model = type(model).from_pretrained(folder / "base")
        model = adapt(model, TuningSection(method="lora", r=2), Purpose("reward"))
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "lora_" in name or "modules_to_save" in name:
                    drawn = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
                    weights.add_(0.05 * drawn)
    inner = model.get_base_model() if lora else model
    pad_with(inner, tokenizer, tokenizer.convert_tokens_to_ids("<|im_start|>"))
    inner.config.reward_shift = SHIFT
    save_model(folder / "final", model.eval(), tokenizer)
    return str(folder / "final")


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_bytes(b"\n".join(map(orjson.dumps, records)))
    return str(path)


@pytest.mark.parametrize("lora", [False, True])
def test_answers_of_a_file_are_scored_alike_by_model_and_by_adapters(
    tmp_path: Path, ask: Ask, lora: bool
) -> None:
    folder = saved(tmp_path, lora=lora)
    records = [{"prompt": record["prompt"], "completions": record["completions"]} for record in rankings(5)]
    records[1]["completions"][1] = " "
    records.append({"prompt": "say one", "completion": "nine"})
    events = ask("predict", model=folder, file=written(tmp_path / "a.jsonl", records))
    rows = [event["row"] for event in events if event["event"] == "row"]
    assert [len(row["scores"]) for row in rows] == [2, 3, 4, 2, 3, 1]
    assert rows[1]["scores"][1] is None
    for row in rows:
        known = [score for score in row["scores"] if score is not None]
        assert row["scores"][row["prediction"]] == max(known)
    # One answer by itself, through transformers alone, differs by the shift.
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base" if lora else folder, num_labels=1
    )
    model = PeftModel.from_pretrained(model, folder) if lora else model
    talk = [{"role": "user", "content": "say one"}, {"role": "assistant", "content": "nine"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    with torch.no_grad():
        plain = float(model.eval()(ids).logits)
    assert rows[-1]["scores"][0] == pytest.approx(plain + SHIFT, abs=1e-5)


def test_a_file_of_rankings_is_evaluated(tmp_path: Path, ask: Ask) -> None:
    folder = saved(tmp_path)
    tied = {"prompt": "a", "completions": ["b", "c"], "ranks": [1, 1]}
    file = written(tmp_path / "r.jsonl", [*rankings(6), tied])
    events = ask("evaluate_file", model=folder, file=file)
    (result,) = [event for event in events if event["event"] == "result"]
    assert [event["text"] for event in events if event["event"] == "note"] == [
        "left out are records that prefer nothing: 1 with only ties"
    ]
    assert result["objective"] == "reward" and result["rows"] == 6
    assert {"eval_loss", "eval_accuracy", "eval_longer_accuracy"} <= set(result["metrics"])
    assert result["report"]["pairs"] and result["report"]["accuracy"] == result["metrics"]["eval_accuracy"]
    file = written(tmp_path / "none.jsonl", [tied] * 3)
    with pytest.raises(DataError, match="no records: 3 with only ties"):
        ask("evaluate_file", model=folder, file=file)


def test_scores_do_not_depend_on_what_is_scored_beside() -> None:
    tokenizer = chat_tokenizer()
    model = scorer(tokenizer)
    pad_with(model, tokenizer, tokenizer.convert_tokens_to_ids("<|im_start|>"))
    scored = RewardScorer(model, tokenizer, LENGTH)
    records = [{**record, "tools": []} for record in rankings(6)]
    together = scored.each(records)
    for record, scores in zip(records, together, strict=True):
        assert scored.score(record) == pytest.approx(scores, abs=1e-5)
    # Without a token that pads, each is scored alone.
    model.config.pad_token_id = None
    assert scored.score(records[0]) == pytest.approx(together[0], abs=1e-5)
    short = RewardScorer(model, tokenizer, 8)
    assert short.each(records[:1]) == [[None, None]]


def test_a_tokenizer_with_tokens_that_the_model_does_not_know_is_refused() -> None:
    tokenizer = chat_tokenizer()
    model = scorer(tokenizer)
    tokenizer.add_tokens(["<more>"])
    with pytest.raises(ModelError, match="the reward model only"):
        RewardScorer(model, tokenizer, LENGTH)


def test_which_models_are_reward_models() -> None:
    config = scorer(chat_tokenizer()).config
    assert is_reward_model(config)
    config.id2label, config.architectures = {0: "LABEL_0"}, ["LlamaForSequenceClassification"]
    assert is_reward_model(config)
    config.problem_type = "regression"
    assert not is_reward_model(config)
    config.problem_type, config.architectures = None, ["BertForSequenceClassification"]
    assert not is_reward_model(config)
