"""Logits are those of the model without a cache, whoever else is in the batch."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from tiny_decoders import DECODERS, ENCODER_DECODERS, MODELS, assert_close, some_ids

from workbench.inference.engine.dense_cache import DenseCache
from workbench.inference.engine.dense_runner import dense_runner
from workbench.inference.engine.transformers_runner import TransformersRunner

CHUNK = 16


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return {}


@pytest.fixture(params=MODELS)
def runner(request: pytest.FixtureRequest, built: dict[str, Any]) -> TransformersRunner:
    """A fresh runner; the models behind them are made once."""
    return dense_runner(model_of(request.param, built), chunk=CHUNK)


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest, built: dict[str, Any]) -> TransformersRunner:
    return dense_runner(model_of(request.param, built), chunk=CHUNK)


def model_of(name: str, built: dict[str, Any]) -> Any:
    if name not in built:
        built[name] = MODELS[name]()
    return built[name]


def read(runner: TransformersRunner, prompt: list[int], **options: Any) -> tuple[Any, torch.Tensor]:
    """A prompt that is read, and the logits after it."""
    prefill, logits = runner.begin(prompt, **options), None
    while prefill.remaining:
        logits = runner.advance(prefill)
    assert logits is not None
    return prefill, logits


def truth(runner: TransformersRunner, prompt: list[int], answer: list[int]) -> torch.Tensor:
    return runner.reference(prompt, answer)


@torch.inference_mode()
def test_one_sequence(runner: TransformersRunner) -> None:
    prompt, answer = some_ids(3 * CHUNK + 5), some_ids(12, seed=1)
    prefill, logits = read(runner, prompt)
    row = runner.open(prefill, len(answer))
    found = [logits, *(runner.decode([row], [token])[0] for token in answer)]
    assert_close(torch.stack(found), truth(runner, prompt, answer))
    assert row.length == len(prompt) + len(answer)


@torch.inference_mode()
def test_no_model_here_needs_the_way_around_padding(runner: TransformersRunner) -> None:
    assert runner.aligned


@torch.inference_mode()
def test_rows_join_wait_and_leave(runner: TransformersRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd of sequences, some the samples of one prompt, in an order that only chance knows."""
    done: Counter[str] = Counter()
    resize, shift, swap = DenseCache.resize, DenseCache.shift, DenseCache.swap_rows

    def counted_resize(self: DenseCache, slots: int, capacity: int, rows: int) -> None:
        done["slots grow"] += slots > self.window.slots
        done["slots shrink"] += slots < self.window.slots
        done["columns grow"] += capacity > self.window.capacity
        done["columns shrink"] += capacity < self.window.capacity
        resize(self, slots, capacity, rows)

    def counted_shift(self: DenseCache, first: int, last: int, start: int, end: int, by: int) -> None:
        done["right" if by > 0 else "left"] += 1
        shift(self, first, last, start, end, by)

    def counted_swap(self: DenseCache, one: int, other: int, end: int) -> None:
        done["swaps"] += 1
        swap(self, one, other, end)

    monkeypatch.setattr(DenseCache, "resize", counted_resize)
    monkeypatch.setattr(DenseCache, "shift", counted_shift)
    monkeypatch.setattr(DenseCache, "swap_rows", counted_swap)
    chance = random.Random(3)
    runner.least_shared = CHUNK
    live: list[tuple[Any, list[int], list[int], list[torch.Tensor], int]] = []
    opened = 0
    while opened < 32 or live:
        if opened < 32 and (not live or chance.random() < 0.25):
            prompt = some_ids(chance.choice([3, 5, 17, 40, 90]), seed=opened)
            samples = chance.choice([1, 1, 3])
            prefill, logits = read(runner, prompt, samples=samples)
            for _ in range(samples):
                length = chance.choice([2, 8, 20, 60, 200])
                live.append((runner.open(prefill, length), prompt, [], [logits], length))
                opened += 1
            runner.forget(prefill)
        now = [entry for entry in live if chance.random() < 0.9]
        chance.shuffle(now)
        if not now:
            continue
        tokens = [chance.randrange(3, 200) for _ in now]
        for entry, token, logits in zip(
            now, tokens, runner.decode([entry[0] for entry in now], tokens), strict=True
        ):
            entry[2].append(token)
            entry[3].append(logits.clone())
        for entry in [entry for entry in live if len(entry[2]) == entry[4]]:
            row, prompt, answer, found, _ = entry
            assert_close(torch.stack(found), truth(runner, prompt, answer))
            live.remove(entry)
            runner.close(row, [*prompt, *answer])
    resized = {f"{what} {how}" for what in ("slots", "columns") for how in ("grow", "shrink")}
    assert set(done) == resized | {"right", "left", "swaps"}
    assert all(done.values())
    assert runner._shared.cache is None


@torch.inference_mode()
def test_samples_share_one_reading(runner: TransformersRunner) -> None:
    prompt = some_ids(2 * CHUNK + 3)
    prefill, _ = read(runner, prompt)
    rows = [runner.open(prefill, 5) for _ in range(3)]
    runner.forget(prefill)
    answers = [some_ids(5, seed=seed) for seed in range(3)]
    steps = [runner.decode(rows, [answer[step] for answer in answers]) for step in range(5)]
    for number, answer in enumerate(answers):
        found = torch.stack([step[number] for step in steps])
        assert_close(found, truth(runner, prompt, answer)[1:])


@torch.inference_mode()
def test_greedy_text_is_that_of_generate(runner: TransformersRunner) -> None:
    prompts = [some_ids(length, seed=length) for length in (7, 30, 2 * CHUNK)]
    new = 20
    tokens, rows, texts = [], [], []
    for prompt in prompts:
        prefill, logits = read(runner, prompt)
        rows.append(runner.open(prefill, new))
        tokens.append(int(logits.argmax()))
        texts.append([tokens[-1]])
    for _ in range(new - 1):
        tokens = runner.decode(rows, tokens).argmax(-1).tolist()
        for text, token in zip(texts, tokens, strict=True):
            text.append(token)
    for prompt, text in zip(prompts, texts, strict=True):
        assert text == generated(runner, prompt, new)


def generated(runner: TransformersRunner, prompt: list[int], new: int) -> list[int]:
    model = runner.model
    ids = torch.tensor([prompt])
    before = len(prompt)
    if model.config.is_encoder_decoder:
        before = len(runner.reference(prompt, [])) - 1 + len(runner._start)  # type: ignore[attr-defined]
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_length=before + new,
        max_new_tokens=None,
        eos_token_id=None,
        pad_token_id=2,
    )
    text: list[int] = found[0, before:].tolist()
    return text


@torch.inference_mode()
def test_logits_of_all_the_prompts_tokens(decoder: TransformersRunner) -> None:
    prompt = some_ids(2 * CHUNK + 7)
    read(decoder, prompt)
    prefill = decoder.begin(prompt, all_logits=True)
    assert prefill.cached == 0
    parts = []
    while prefill.remaining:
        logits = decoder.advance(prefill)
        assert logits is not None
        parts.append(logits)
    assert [len(part) for part in parts] == [CHUNK, CHUNK, 7]
    assert_close(torch.cat(parts), truth(decoder, prompt[:1], prompt[1:]))


@torch.inference_mode()
def test_a_sequence_alone_has_the_same_bits_whatever_else_runs(runner: TransformersRunner) -> None:
    prompt, answer = some_ids(2 * CHUNK + 3), some_ids(80, seed=1)

    def run(crowd: bool) -> torch.Tensor:
        rows = []
        if crowd:
            for length in (5, 50, 21):
                other, _ = read(runner, some_ids(length, seed=length))
                rows += [runner.open(other, 100) for _ in range(2)]
        prefill, logits = read(runner, prompt, exact=True)
        row = runner.open(prefill, len(answer), alone=True)
        found = [logits]
        for step, token in enumerate(answer):
            if crowd:
                runner.decode(rows[: 1 + step % len(rows)], [token] * (1 + step % len(rows)))
            found.append(runner.decode([row], [token])[0])
        runner.close(row, [*prompt, *answer])
        return torch.stack(found)

    quiet = run(crowd=False)
    assert torch.equal(quiet, run(crowd=True))


def test_models_of_both_kinds_are_tried() -> None:
    assert len(DECODERS) >= 6 and len(ENCODER_DECODERS) >= 2
