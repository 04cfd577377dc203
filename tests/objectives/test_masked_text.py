"""Masked rows as a person sees them: what was done to each token, who attends to whom, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_rows import TEXTS, Setting, document

from workbench.objectives.encoder import call_rows
from workbench.objectives.masked_text import IGNORE


def test_the_view_says_what_was_done_to_each_token(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__mask_replace_prob=0.4, objective__random_replace_prob=0.3)
    batch = here.rows.batch(0, here.rows.rows_per_epoch(0))
    seen = set()
    for row, view in enumerate(here.objective.view(batch)):
        (stream,) = view.streams
        for place, token in enumerate(stream.tokens):
            target = batch.arrays["targets"][row, place]
            assert token.id == batch.arrays["input_ids"][row, place]
            assert token.target == (None if target == IGNORE else target)
            seen.add(token.state)
            if token.state == "masked":
                assert token.id == here.tokenizer.mask_token_id and token.original == token.target
            elif token.state == "kept":
                assert token.id == token.target and token.original is None
            elif token.state == "random":
                assert token.original == token.target != token.id
            elif token.state == "padding":
                assert token.id == here.tokenizer.pad_token_id and token.document == -1
            elif token.state == "special":
                assert token.id in (here.tokenizer.cls_token_id, here.tokenizer.sep_token_id)
            else:
                assert token.state == "context" and token.id not in here.tokenizer.all_special_ids
    assert seen == {"masked", "kept", "random", "padding", "special", "context"}


@pytest.mark.parametrize("changes", [{}, {"data__isolate_documents": False}, {"data__packing": False}])
def test_what_a_token_attends_to_is_what_moves_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    here = Setting(tmp_path, **changes)
    batch = here.rows.batch(0, 3)
    attends = np.stack([view.streams[0].attends for view in here.objective.view(batch)])
    tensors = here.tensors(batch)
    encoder = here.model.base_model
    with torch.no_grad():
        before = call_rows(encoder, tensors).last_hidden_state
        for place in range(0, tensors["input_ids"].shape[1], 5):
            changed = tensors["input_ids"].clone()
            changed[:, place] = (changed[:, place] + 7) % 300
            after = call_rows(encoder, {**tensors, "input_ids": changed}).last_hidden_state
            moved = ((after - before).abs().amax(-1) > 1e-6).numpy()
            assert (moved == attends[:, :, place]).all()


def test_local_attention_is_told(tmp_path: Path) -> None:
    here = Setting(tmp_path, "modernbert", model__local_attention=10)
    assert here.objective.view(here.rows.batch(0, 1))[0].notes == [
        "layers with local attention see 5 tokens to each side"
    ]


def test_a_pair_is_shown_with_what_it_is(tmp_path: Path) -> None:
    here = Setting(tmp_path, objective__next_sentence_prediction=True)
    batch = here.rows.batch(0, 12)
    labels = {0: "B follows A", 1: "B is from another document"}
    views = here.objective.view(batch)
    assert [view.label for view in views] == [labels[n] for n in batch.arrays["next_sentence"].tolist()]
    assert len({view.label for view in views}) == 2
    cls, sep = here.tokenizer.cls_token_id, here.tokenizer.sep_token_id
    for ids, segments, groups in zip(
        *(batch.arrays[name] for name in ("input_ids", "token_type_ids", "groups")), strict=True
    ):
        real = groups >= 0
        assert ids[0] == cls and ids[real][-1] == sep and (ids == sep).sum() == 2
        first = int(np.flatnonzero(ids == sep)[0]) + 1
        assert not segments[:first].any() and segments[first : real.sum()].all()
    report = here.rows.report()
    count = report["rows"]
    used = here.rows.batch(0, count).num_tokens
    # Exchanged segments may be shorter than what they stand for.
    assert used <= count * here.rows.length - report["padding"]


def test_a_sample_fills_the_masks_of_a_prompt(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    ids = here.tokenizer("the king and[MASK] of", return_tensors="pt")["input_ids"]
    (place,) = (ids[0] == here.tokenizer.mask_token_id).nonzero()[0].tolist()
    with torch.no_grad():
        chances = here.model(input_ids=ids).logits[0, place].softmax(-1)
        chance, token = chances.max(-1)
        found = here.objective.sample(here.model, "the king and[MASK] of")
    text = here.tokenizer.decode([int(token)])
    blank, word = text[: len(text) - len(text.lstrip(" "))], text.lstrip(" ")
    assert found["text"] == f"the king and{blank}«{word}» {chance:.2f} of"
    assert found["prompt"] == "the king and[MASK] of"


def test_a_prompt_without_masks_gets_the_same_ones_each_time(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    prompts = here.objective.default_prompts(here.held_out)
    assert len(prompts) == 3 and all(prompts)
    assert all(any(text.startswith(prompt) for text in TEXTS) for prompt in prompts)
    with torch.no_grad():
        first, again = (here.objective.sample(here.model, prompts[1]) for _ in range(2))
    assert first == again
    assert first["prompt"].count("[MASK]") == first["text"].count("«") == first["text"].count("(") > 0
    assert here.objective.sample(here.model, "")["text"] == ""


def test_a_long_prompt_is_cut_to_the_context(tmp_path: Path) -> None:
    here = Setting(tmp_path)
    with torch.no_grad():
        found = here.objective.sample(here.model, document(1, 500))
    assert len(here.tokenizer(found["prompt"])["input_ids"]) == 64
