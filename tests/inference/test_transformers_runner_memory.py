"""What is kept for later prompts, what it takes, and what models are refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
import transformers
from tiny_decoders import CONTEXT, DECODERS, ENCODER_DECODERS, MODELS, VOCABULARY, assert_close, some_ids

from workbench.errors import ModelError
from workbench.inference.engine.dense_cache import Block, DenseCache, DenseLayer, cache_name
from workbench.inference.engine.dense_encoder_decoder import EncoderDecoderRunner
from workbench.inference.engine.dense_positions import RowPositions
from workbench.inference.engine.dense_runner import dense_runner
from workbench.inference.engine.transformers_runner import TransformersRunner
from workbench.inference.loading.soft_prompt import SoftPrompt

CHUNK = 16


def read(runner: TransformersRunner, prompt: list[int], **options: Any) -> tuple[Any, torch.Tensor]:
    prefill, logits = runner.begin(prompt, **options), None
    while prefill.remaining:
        logits = runner.advance(prefill)
    assert logits is not None
    return prefill, logits


@pytest.fixture
def llama() -> TransformersRunner:
    return dense_runner(DECODERS["llama"](), chunk=CHUNK)


@torch.inference_mode()
def test_a_prompt_that_begins_alike_skips_what_was_read(llama: TransformersRunner) -> None:
    first = some_ids(3 * CHUNK)
    prefill, _ = read(llama, first)
    llama.forget(prefill)
    again, logits = read(llama, first)
    assert again.cached == 2 * CHUNK  # the last chunk is read, for its logits
    assert_close(logits, llama.reference(first, [])[0])
    longer = [*first, *some_ids(5, seed=1)]
    continued, logits = read(llama, longer)
    assert continued.cached == 3 * CHUNK
    assert_close(logits, llama.reference(longer, [])[0])
    other, _ = read(llama, [*first[:CHUNK], 7, *first[CHUNK + 1 :]])
    assert other.cached == CHUNK


@torch.inference_mode()
def test_an_answer_is_kept_for_the_prompt_that_continues_it_but_not_for_an_exact_one(
    llama: TransformersRunner,
) -> None:
    prompt, answer = some_ids(CHUNK + 3), some_ids(2 * CHUNK, seed=1)
    prefill, _ = read(llama, prompt)
    rows = [llama.open(prefill, len(answer)), llama.open(prefill, len(answer))]
    for token in answer:
        llama.decode(rows, [token, 5])
    llama.forget(prefill)
    llama.close(rows[0], [*prompt, *answer])
    llama.close(rows[1])
    turn = [*prompt, *answer, *some_ids(4, seed=2)]
    exact, exact_logits = read(llama, turn, exact=True)
    assert exact.cached == CHUNK
    llama.forget(exact)
    llama.shrink(0)
    read_anew, anew = read(llama, turn, exact=True)
    assert read_anew.cached == 0 and torch.equal(anew, exact_logits)


@torch.inference_mode()
def test_a_continued_answer_gives_the_logits_of_the_whole(llama: TransformersRunner) -> None:
    prompt, answer = some_ids(CHUNK + 3), some_ids(2 * CHUNK, seed=1)
    prefill, _ = read(llama, prompt)
    row = llama.open(prefill, len(answer))
    for token in answer:
        llama.decode([row], [token])
    llama.close(row, [*prompt, *answer])
    turn = [*prompt, *answer, *some_ids(4, seed=2)]
    continued, logits = read(llama, turn)
    assert continued.cached == 3 * CHUNK
    assert_close(logits, llama.reference(turn, [])[0])


@torch.inference_mode()
def test_a_chunk_read_after_an_inexact_one_is_not_exact_either(llama: TransformersRunner) -> None:
    prompt, answer = some_ids(CHUNK), some_ids(CHUNK, seed=1)
    prefill, _ = read(llama, prompt)
    row = llama.open(prefill, len(answer))
    for token in answer:
        llama.decode([row], [token])
    llama.close(row, [*prompt, *answer])
    turn = [*prompt, *answer, *some_ids(CHUNK + 1, seed=2)]
    assert read(llama, turn)[0].cached == 2 * CHUNK
    assert read(llama, turn)[0].cached == 3 * CHUNK
    assert read(llama, turn, exact=True)[0].cached == CHUNK
    assert read(llama, turn, exact=True)[0].cached == 3 * CHUNK


@torch.inference_mode()
@pytest.mark.parametrize("name", DECODERS)
def test_what_was_cached_gives_the_bits_of_what_is_read(name: str) -> None:
    runner = dense_runner(DECODERS[name](), chunk=CHUNK)
    prompt = some_ids(4 * CHUNK + 3)
    for length in (2 * CHUNK + 1, 3 * CHUNK + 9):
        runner.forget(read(runner, prompt[:length], exact=True)[0])
    cached, hit = read(runner, prompt, exact=True)
    assert cached.cached == 3 * CHUNK
    fresh, miss = read(dense_runner(runner.model, chunk=CHUNK), prompt, exact=True)
    assert fresh.cached == 0 and torch.equal(hit, miss)
    for one, other in zip(cached.blocks, fresh.blocks, strict=True):
        for pair, wanted in zip(one.layers, other.layers, strict=True):
            assert pair is not None and wanted is not None
            assert torch.equal(pair[0], wanted[0]) and torch.equal(pair[1], wanted[1])


@torch.inference_mode()
def test_bytes_are_what_the_tensors_take(llama: TransformersRunner) -> None:
    layers, heads, size, fp32 = 2, 2, 16, 4
    assert llama.bytes_per_token == 2 * layers * heads * size * fp32
    assert llama.cached_bytes() == 0
    prefill, _ = read(llama, some_ids(3 * CHUNK + 2))
    assert llama.cached_bytes() == 0, "a prompt in work holds them anyway"
    llama.forget(prefill)
    assert llama.cached_bytes() == 3 * CHUNK * llama.bytes_per_token
    llama.forget(read(llama, some_ids(CHUNK, seed=1))[0])
    llama.shrink(2 * CHUNK * llama.bytes_per_token)
    assert llama.cached_bytes() == 2 * CHUNK * llama.bytes_per_token
    assert read(llama, some_ids(CHUNK + 1, seed=1))[0].cached == CHUNK, "the newest are kept"


@torch.inference_mode()
def test_a_limit_on_what_is_kept_is_kept() -> None:
    model = DECODERS["llama"]()
    limit = 5 * CHUNK * dense_runner(model).bytes_per_token
    runner = dense_runner(model, chunk=CHUNK, kept_bytes=limit)
    for seed in range(6):
        prefill, _ = read(runner, some_ids(2 * CHUNK + 1, seed=seed))
        runner.forget(prefill)
        assert runner.cached_bytes() <= limit
    assert read(runner, some_ids(2 * CHUNK + 1, seed=5))[0].cached == 2 * CHUNK
    assert read(runner, some_ids(2 * CHUNK + 1, seed=0))[0].cached == 0


@torch.inference_mode()
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_the_encoder_reads_a_prompt_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = dense_runner(MODELS[name]())
    prompt = some_ids(20)
    first, logits = read(runner, prompt, exact=True)
    runner.forget(first)
    kept = runner.cached_bytes()
    tokens = 20 + len(runner._start)  # type: ignore[attr-defined]
    assert kept == tokens * runner.bytes_per_token + logits.nbytes
    monkeypatch.setattr(runner, "_encode", None)
    again, same = read(runner, prompt, exact=True)
    assert again.cached == 19 and torch.equal(logits, same)
    same.fill_(0)
    assert torch.equal(read(runner, prompt)[1], logits), "who gets logits may write into them"
    runner.shrink(0)
    assert runner.cached_bytes() == 0 if not again.source.users else kept


@torch.inference_mode()
def test_rows_that_cannot_be_padded_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without help BART gives all rows of a batch one position, and that is found out."""
    monkeypatch.setattr(RowPositions, "_replace", lambda *args: None)
    runner = dense_runner(ENCODER_DECODERS["bart"]())
    assert isinstance(runner, EncoderDecoderRunner) and not runner.aligned
    prompts = [some_ids(9), some_ids(4, seed=1)]
    opened = []
    for prompt in prompts:
        prefill, _ = read(runner, prompt)
        opened += [(prompt, runner.open(prefill, 4)) for _ in range(2)]
    rows = [row for _, row in opened]
    runner.decode(rows[:3], [9, 9, 9])
    found = runner.decode(rows, [5, 6, 7, 8])
    for (prompt, _), answer, logits in zip(opened, ([9, 5], [9, 6], [9, 7], [8]), found, strict=True):
        assert_close(logits, runner.reference(prompt, answer)[-1])


@torch.inference_mode()
def test_a_soft_prompt_stands_before_every_prompt() -> None:
    model = DECODERS["llama"]()
    before, prompt, answer = some_ids(11), some_ids(2 * CHUNK + 3, seed=1), some_ids(4, seed=2)
    cache = DenseCache(1, 64)
    cache.window.rows = 1
    model(input_ids=torch.tensor([before]), **{cache_name(model): cache})
    block: Block = cache.cut(0, 0, len(before))
    rows = [part.permute(1, 0, 2).reshape(len(before), -1) for pair in block.layers for part in pair or ()]
    soft_prompt = SoftPrompt("PREFIX_TUNING", torch.cat(rows, 1))
    runner = TransformersRunner(model, chunk=CHUNK, soft_prompt=soft_prompt)
    assert runner.room(1) == CONTEXT - len(before) - 1
    for _ in range(2):
        prefill, logits = read(runner, prompt)
        row = runner.open(prefill, len(answer))
        assert row.length == len(prompt)
        other = runner.open(read(runner, some_ids(5))[0], len(answer))
        found = [logits, *(runner.decode([other, row], [3, token])[1] for token in answer)]
        assert_close(torch.stack(found), runner.reference([*before, *prompt], answer))
        runner.close(row, [*prompt, *answer])
        runner.close(other)
    assert prefill.cached == 2 * CHUNK


@torch.inference_mode()
def test_samples_lie_over_one_copy_of_their_prompt(llama: TransformersRunner) -> None:
    llama.least_shared = CHUNK
    prompt = some_ids(5 * CHUNK + 3)
    prefill, _ = read(llama, prompt, samples=8)
    rows = [llama.open(prefill, 40) for _ in range(8)]
    llama.forget(prefill)
    assert len({id(row.trunk) for row in rows}) == 1 and rows[0].width == 0
    answers = [some_ids(40, seed=seed) for seed in range(8)]
    for step in range(40):
        logits = llama.decode(rows, [answer[step] for answer in answers])
    for found, answer in zip(logits, answers, strict=True):
        assert_close(found, llama.reference(prompt, answer)[-1])
    trunk, batch = rows[0].trunk, rows[0].batch
    assert trunk is not None and trunk.length == len(prompt) and batch.cache is not None
    assert batch.cache.window.capacity <= 64, "there is room for their own tokens alone"
    llama.close(rows[3], [*prompt, *answers[3]])
    longer = [*prompt, *answers[3], 9]
    again, logits = read(llama, longer)
    assert again.cached == 7 * CHUNK, "a chunk of prompt and answer was kept, too"
    assert_close(logits, llama.reference(longer, [])[0])


@torch.inference_mode()
def test_a_layer_that_does_not_see_what_rows_have_in_common_is_an_error(llama: TransformersRunner) -> None:
    llama.least_shared = CHUNK
    prefill, _ = read(llama, some_ids(2 * CHUNK), samples=2)
    rows = [llama.open(prefill, 4) for _ in range(2)]
    llama.model.set_attn_implementation("sdpa")
    with pytest.raises(ModelError, match="0 of 2 layers saw"):
        llama.decode(rows, [5, 6])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "gpt2"])
def test_bf16_errs_no_more_than_the_model_does_without_a_cache(name: str) -> None:
    prompt, answer = some_ids(2 * CHUNK + 3), some_ids(6, seed=1)
    truth = dense_runner(DECODERS[name]()).reference(prompt, answer)
    runner = dense_runner(DECODERS[name]().to(torch.bfloat16), chunk=CHUNK)
    assert runner.aligned and "bfloat16" in runner.name
    assert runner.model.config._attn_implementation == "workbench_engine"
    prefill, logits = read(runner, prompt)
    rows = [runner.open(prefill, len(answer)) for _ in range(3)]
    found = torch.stack([logits, *(runner.decode(rows, [token] * 3)[1] for token in answer)])
    error = (found - truth).abs().max()
    assert error <= 2 * (runner.reference(prompt, answer) - truth).abs().max()


def test_prompts_that_cannot_be_read(llama: TransformersRunner) -> None:
    with pytest.raises(ModelError, match="empty"):
        llama.begin([])
    with pytest.raises(ModelError, match="520 tokens") as caught:
        llama.begin([7] * 520)
    assert "8 tokens" in caught.value.hint


@torch.inference_mode()
@pytest.mark.parametrize("fails_at", range(8))
def test_memory_that_runs_out_takes_no_row_along(
    llama: TransformersRunner, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """There are two layers, each with keys and values, and two times to make room."""
    prompts = [some_ids(30, seed=seed) for seed in range(3)]
    readings = [read(llama, prompt)[0] for prompt in prompts]
    rows = [llama.open(reading, 20) for reading in readings[:2]]
    answer = some_ids(80)
    made, new = 0, DenseLayer._new

    def fail(self: DenseLayer, like: torch.Tensor) -> torch.Tensor:
        nonlocal made
        made += 1
        if made == fails_at + 1:
            raise torch.OutOfMemoryError("out of memory")
        return new(self, like)

    monkeypatch.setattr(DenseLayer, "_new", fail)
    while len(rows) < 3:
        with suppress(torch.OutOfMemoryError):
            rows.append(llama.open(readings[2], 20))
    for token in answer:
        while True:
            with suppress(torch.OutOfMemoryError):
                logits = llama.decode(rows, [token] * 3)
                break
    assert made == 9 + fails_at % 4, "what had been made before it failed was made again"
    for prompt, found in zip(prompts, logits, strict=True):
        assert_close(found, llama.reference(prompt, answer)[-1])
    monkeypatch.setattr(DenseLayer, "_new", _refuse)
    for row in rows:
        llama.close(row)


def _refuse(self: DenseLayer, like: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("out of memory")


def test_an_encoder_decoder_has_no_logits_for_its_prompt() -> None:
    with pytest.raises(ModelError, match="no probabilities"):
        dense_runner(ENCODER_DECODERS["t5"]()).begin(some_ids(3), all_logits=True)


def test_relative_positions_have_no_end(llama: TransformersRunner) -> None:
    assert llama.max_length == CONTEXT and llama.room(500) == 12
    assert dense_runner(DECODERS["bloom"]()).max_length > 100_000
    assert dense_runner(ENCODER_DECODERS["t5"]()).max_length > 100_000


def test_an_encoder_decoder_has_a_context_for_each() -> None:
    runner = dense_runner(ENCODER_DECODERS["bart"]())
    assert runner.room(CONTEXT) == CONTEXT - 2, "the start and the forced first token are of the answer"
    assert runner.room(CONTEXT + 3) == -3
    torch.manual_seed(0)
    layers = {
        f"{side}_{part}": 2 for side in ("encoder", "decoder") for part in ("layers", "attention_heads")
    }
    config = transformers.LEDConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        max_encoder_position_embeddings=300,
        max_decoder_position_embeddings=100,
        attention_window=8,
        **layers,
    )
    led = dense_runner(transformers.LEDForConditionalGeneration(config).eval())
    assert led.room(300) == 99 and led.room(301) == -1


def test_models_that_keep_another_state_are_refused() -> None:
    config = transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)
    with pytest.raises(ModelError, match="no cache of keys and values"):
        dense_runner(transformers.MambaForCausalLM(config).eval())


def test_models_whose_cache_does_nothing_are_refused() -> None:
    torch.manual_seed(0)
    config = transformers.OpenAIGPTConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2)
    with pytest.raises(ModelError, match="other logits than without"):
        dense_runner(transformers.OpenAIGPTLMHeadModel(config).eval())


def test_a_decoder_that_does_not_say_how_it_begins_is_refused() -> None:
    model = ENCODER_DECODERS["t5"]()
    for place in (model.config, model.generation_config):
        place.decoder_start_token_id = None
    with pytest.raises(ModelError, match="which token its answers begin"):
        dense_runner(model)
