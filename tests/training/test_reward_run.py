"""A reward model through the real worker: it learns, goes on bit for bit, and loads anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from ranked_answers import chat_tokenizer, rankings, scorer
from tiny_run import curve
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForCausalLM

from workbench.recipe import validate
from workbench.store.runs import Run, create_run

NAMES = ("loss", "grad_norm", "accuracy", "margin", "eval_loss", "eval_accuracy", "eval_longer_accuracy")
Work = Callable[[Run], int]


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """Rankings, references, and a decoder that writes."""
    tokenizer = chat_tokenizer()
    config = scorer(tokenizer).config
    torch.manual_seed(3)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "writer")
    tokenizer.save_pretrained(tmp_path / "writer")
    ranked, references = tmp_path / "r.jsonl", tmp_path / "people.jsonl"
    ranked.write_bytes(b"\n".join(map(orjson.dumps, rankings(40))))
    people = [{"prompt": f"say {n}", "completion": f"nine {n}"} for n in range(6)]
    references.write_bytes(b"\n".join(map(orjson.dumps, people)))
    return {
        "model": {"model_name_or_path": str(tmp_path / "writer")},
        "data": {"sources": [str(ranked)], "eval_fraction": 0.25, "max_length": 160},
        "objective": {"name": "reward", "reference_sources": [str(references)]},
        "training": {
            "max_steps": 6,
            "per_device_train_batch_size": 4,
            "learning_rate": 3e-3,
            "eval_steps": 3,
            "save_steps": 3,
            "logging_steps": 1,
        },
        "launch": {"device": "cpu", "num_threads": 1},
    }


def test_a_run_learns_resumes_bit_for_bit_and_its_model_loads_anywhere(
    recipe: dict[str, Any], work: Work
) -> None:
    run = create_run(validate(recipe, "test"), "reward")
    assert work(run) == 0, run.log_path.read_text()
    whole = curve(run, *NAMES)
    assert all(whole[name] for name in NAMES)
    evaluations = run.evaluations_path.read_bytes()
    assert [orjson.loads(line)["step"] for line in evaluations.splitlines()] == [3, 6]
    shutil.rmtree(run.path / "checkpoint-6")
    shutil.rmtree(run.final_path)
    assert work(run) == 0, run.log_path.read_text()
    assert curve(run, *NAMES) == whole
    assert len(run.evaluations_path.read_bytes().splitlines()) == 2
    assert orjson.loads(run.samples_path.read_bytes().splitlines()[0])["text"]
    _loads_anywhere(run.final_path)


def _loads_anywhere(folder: Path) -> None:
    """Plain transformers scores padded and unpadded alike, and with the shift references are at 0."""
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and model.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == model.config.pad_token_id != tokenizer.eos_token_id
    rows = []
    for number in range(6):
        talk = [
            {"role": "user", "content": f"say {number}"},
            {"role": "assistant", "content": "nine" + f" {number}" * (1 + number)},
        ]
        rows.append(tokenizer.apply_chat_template(talk, tokenize=False).rstrip())
    batch = tokenizer(rows, padding=True, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        together = model(batch.input_ids, attention_mask=batch.attention_mask).logits[:, 0]
        for row, score in zip(rows, together.tolist(), strict=True):
            ids = tokenizer(row, return_tensors="pt", add_special_tokens=False).input_ids
            assert float(model(ids).logits) == pytest.approx(score, abs=1e-5)
        people = [
            tokenizer.apply_chat_template(
                [
                    {"role": "user", "content": f"say {n}"},
                    {"role": "assistant", "content": f"nine {n}"},
                ],
                tokenize=False,
            ).rstrip()
            for n in range(6)
        ]
        batch = tokenizer(people, padding=True, return_tensors="pt", add_special_tokens=False)
        scores = model(batch.input_ids, attention_mask=batch.attention_mask).logits
    assert float(scores.mean()) + model.config.reward_shift == pytest.approx(0, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning")
def test_adapters_are_saved_with_the_head(recipe: dict[str, Any], work: Work) -> None:
    from peft import PeftModel

    recipe["tuning"] = {"method": "lora", "r": 2}
    recipe["training"] |= {"max_steps": 2, "per_device_train_batch_size": 2}
    recipe["objective"] |= {"ranking_loss": "plackett_luce", "reference_sources": []}
    run = create_run(validate(recipe, "test"), "reward-lora")
    assert work(run) == 0, run.log_path.read_text()
    config = orjson.loads((run.final_path / "config.json").read_bytes())
    base = AutoModelForSequenceClassification.from_pretrained(
        recipe["model"]["model_name_or_path"], num_labels=1, pad_token_id=config["pad_token_id"]
    )
    model: Any = PeftModel.from_pretrained(base, str(run.final_path))
    assert not torch.equal(
        model.base_model.model.score.modules_to_save["default"].weight,
        model.base_model.model.score.original_module.weight,
    )
