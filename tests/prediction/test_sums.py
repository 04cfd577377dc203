"""Sums asked of a tiny model: in batches, padded, the same as one at a time by transformers' own means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_models import save, tokenizer_of

from workbench.errors import ModelError

ITEMS = [
    {"prompt": "1+2=3\n3+4=", "answer": "7"},
    {"prompt": "1+2+3=3+3=6\n13+4+25=", "answer": "17+25=42"},
    {"prompt": "9+9=", "answer": "18"},
]
Ask = Callable[..., list[dict[str, Any]]]


def test_likelihoods_and_greedy_answers_are_those_of_one_row_at_a_time(ask: Ask, tmp_path: Path) -> None:
    model, tokenizer = save(tmp_path, "Llama"), tokenizer_of()
    models = [{"name": "tiny", "folder": str(tmp_path)}]
    (told,) = [event for event in ask("sums", models=models, items=ITEMS) if event["event"] == "model"]
    assert told["name"] == "tiny"
    for item, found in zip(ITEMS, told["items"], strict=True):
        prompt = tokenizer(item["prompt"])["input_ids"]
        answer = tokenizer(item["prompt"] + item["answer"] + "\n")["input_ids"][len(prompt) :]
        with torch.no_grad():
            odds = model(torch.tensor([prompt + answer])).logits.log_softmax(-1)[0]
            new = model.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False)[0, len(prompt) :]
        expected = sum(float(odds[len(prompt) - 1 + place, token]) for place, token in enumerate(answer))
        assert found["log_likelihood"] == pytest.approx(expected, rel=1e-4)
        assert found["tokens"] == len(answer)
        assert found["digits"] == sum(letter.isdigit() for letter in item["answer"])
        # Cut where the batch's longest answer ends, which is at least as far as this one's.
        line = tokenizer.decode(new, skip_special_tokens=True).partition("\n")[0]
        assert line.startswith(found["text"]) or found["text"].startswith(line[:80])
        assert not found["exact"] and not found["result"]


def test_a_token_that_spans_question_and_answer_is_refused(ask: Ask, tmp_path: Path) -> None:
    save(tmp_path, "Llama")
    items = [{"prompt": "the re", "answer": "d"}]
    with pytest.raises(ModelError, match="joins the end of a question"):
        ask("sums", models=[{"name": "tiny", "folder": str(tmp_path)}], items=items)


def test_solved_sums_go_where_the_context_has_no_room_for_them(ask: Ask, tmp_path: Path) -> None:
    save(tmp_path, "Llama")
    items = [{"prompt": "1+2=3\n" * shots + "3+4=", "answer": "7"} for shots in (300, 400)]
    models = [{"name": "tiny", "folder": str(tmp_path)}]
    (told,) = [event for event in ask("sums", models=models, items=items) if event["event"] == "model"]
    fewer, more = (item["log_likelihood"] for item in told["items"])
    assert fewer == pytest.approx(more, rel=1e-5)
