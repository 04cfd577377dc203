"""The engine's caches of windows, sums and few bits, against one full forward pass without a cache."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from estimate_cases import model_of, recipe_of

from workbench.errors import ModelError
from workbench.inference.engine import layer_caches
from workbench.inference.engine.engine import Engine
from workbench.inference.engine.kv_codecs import KvDtype
from workbench.inference.engine.kv_store import KvStore
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Progress,
    PromptRead,
    RequestRefused,
    SamplingParams,
)
from workbench.inference.engine.scheduler import Scheduler
from workbench.inference.engine.state_runner import StateRunner
from workbench.inference.limits import Limits
from workbench.inference.loading.loaded import LoadedModel
from workbench.inference.loading.soft_prompt import SoftPrompt
from workbench.inference.server.opening import choose_runner
from workbench.models.attention.patterns import layer_patterns
from workbench.models.estimate.cache import key_value_cache
from workbench.models.estimate.shape import shape_of
from workbench.models.fused_weights import fuse
from workbench.ops import native

SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 300,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "window": {"attention": "sliding_window", "sliding_window": 16},
    "layers by turns": {"attention": "window_global", "sliding_window": 16, "qk_norm": True},
    "global tokens": {"attention": "window_global", "sliding_window": 16, "global_tokens": 4},
    "strided": {"attention": "strided", "attention_stride": 8, "sliding_window": 20},
    "linear": {"attention": "linear", "qk_norm": True},
}
PROMPTS = tuple(
    torch.randint(3, 300, (count,), generator=torch.Generator().manual_seed(count)).tolist()
    for count in (100, 7)
)
ANSWER = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(0)).tolist()


def model_with(kind: str) -> Any:
    torch.manual_seed(0)
    return model_of(recipe_of("llama", "clm", **SIZES, **KINDS[kind]), device="cpu").eval()


def runner_of(model: Any, kv_dtype: KvDtype = "auto") -> StateRunner:
    patterns = layer_patterns(model.config)
    assert not isinstance(patterns, str)
    runner = StateRunner(fuse(model, 256), patterns, kv_dtype)
    # Longer than a window, so that rings turn within a chunk, and several to a prompt.
    runner.chunk = min(runner.chunk, 33)
    return runner


def read(runner: StateRunner, prompt: list[int], samples: int = 1) -> tuple[Any, torch.Tensor]:
    prefill, logits = runner.begin(prompt, samples=samples), None
    while prefill.remaining:
        logits = runner.advance(prefill)
    assert logits is not None
    return prefill, logits


def decoded(runner: StateRunner) -> list[torch.Tensor]:
    """Logits [n + 1, V] of two samples of each prompt, decoded together in a mixed order."""
    handles, found = [], []
    for prompt in PROMPTS:
        prefill, logits = read(runner, prompt, samples=2)
        for _ in range(2):
            handles.append(runner.open(prefill, len(ANSWER)))
            found.append([logits])
        runner.forget(prefill)
    order = [2, 0, 3, 1]
    for token in ANSWER:
        logits = runner.decode([handles[row] for row in order], [token] * 4)
        for place, row in enumerate(order):
            found[row].append(logits[place].clone())
    for handle in handles:
        runner.close(handle)
    return [torch.stack(row) for row in found]


@torch.inference_mode()
def truth(model: Any) -> list[torch.Tensor]:
    """The same of one pass without a cache."""
    return [
        model(torch.tensor([[*prompt, *ANSWER]]), use_cache=False).logits[0, len(prompt) - 1 :]
        for prompt in PROMPTS
    ]


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_decoding_gives_the_logits_of_a_pass_without_a_cache(kind: str) -> None:
    model = model_with(kind)
    wanted = truth(model)
    runner = runner_of(model)
    for row, found in enumerate(decoded(runner)):
        true = wanted[row // 2]
        assert float((found - true).abs().max()) < 2e-5 * float(true.abs().max())
    assert runner.held_bytes() == 0


@pytest.mark.parametrize("kind", ["full", "global tokens"])
@torch.inference_mode()
def test_fewer_bits_cost_little_and_fewer_still_more(kind: str) -> None:
    """Keys and values are off by half a step, 1/254 and about 1/30 of their spread, and so, about, are
    logits."""
    wanted = truth(model_with(kind))
    errors = []
    for kv_dtype in ("int8", "int4"):
        found = decoded(runner_of(model_with(kind), kv_dtype))
        worst = [(row - wanted[number // 2]).norm() for number, row in enumerate(found)]
        errors.append(float(torch.stack(worst).norm() / torch.stack([row.norm() for row in wanted]).norm()))
    assert errors[0] < 0.02 < 4 * errors[0] + 0.02 < errors[1] + 0.02 < 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kv_dtype", ["auto", "int8", "int4"])
def test_what_a_sequence_takes_is_what_is_reckoned(kind: str, kv_dtype: KvDtype) -> None:
    shape, _ = shape_of(recipe_of("llama", "clm", **SIZES, **KINDS[kind]))
    assert shape is not None
    cache = key_value_cache(shape, "fp32" if kv_dtype == "auto" else kv_dtype)
    runner = runner_of(model_with(kind), kv_dtype)
    for length in (1, 15, 20, 100, 256):
        assert runner.bytes_of(length) == cache.bytes(length)


@torch.inference_mode()
def test_windows_and_sums_hold_as_much_after_many_tokens_as_after_few() -> None:
    for kind, is_flat in (("global tokens", True), ("linear", True), ("full", False)):
        runner = runner_of(model_with(kind))
        prefill, _ = read(runner, PROMPTS[0] * 2)
        handle = runner.open(prefill, 56)
        before = runner.held_bytes()
        assert before == runner.bytes_of(200)
        for _ in range(56):
            runner.decode([handle], [5])
        assert runner.held_bytes() == runner.bytes_of(256) and (runner.held_bytes() == before) == is_flat
        short = runner_of(model_with(kind))
        short_prefill, _ = read(short, PROMPTS[0])
        assert (runner.bytes_of(200) == short.bytes_of(100)) == is_flat
        runner.close(handle)
        short.forget(short_prefill)


@pytest.mark.parametrize(("kind", "kv_dtype"), [(kind, "auto") for kind in KINDS] + [("full", "int4")])
@torch.inference_mode()
def test_no_more_is_held_than_was_promised(kind: str, kv_dtype: KvDtype) -> None:
    """A long text beside many short ones, in any order of coming and going, costs what it costs alone; what
    is kept for later costs what it holds."""
    runner = runner_of(model_with(kind), kv_dtype)
    lengths = [(180, 60), *[(1, 9)] * 6, (40, 12)]
    handles = []
    promised = 0
    for length, capacity in lengths:
        prompt = [5] * length
        prefill, _ = read(runner, prompt)
        handles.append(runner.open(prefill, capacity))
        runner.forget(prefill)
        promised += runner.bytes_of(length + capacity)
        assert runner.held_bytes() <= promised
    for _ in range(9):
        runner.decode(handles, [7] * len(handles))
    for _ in range(51):
        runner.decode(handles[:1], [7])
    assert runner.held_bytes() <= promised
    for handle in handles[:1] + handles[2:]:
        ids = [5] * handle.length
        runner.close(handle, ids if handle is handles[0] else None)
    kept = runner.cached_bytes()
    assert kept == runner.bytes_of(240)
    # Sums are given back when half of them are free.
    assert runner.held_bytes() <= 2 * (kept + runner.bytes_of(10))
    runner.shrink(0)
    runner.close(handles[1])
    assert runner.held_bytes() == 0


@torch.inference_mode()
def test_samples_that_stay_are_not_disturbed_by_those_that_go() -> None:
    """Slots move when one ends; logits are those of the text alone."""
    for kind in ("linear", "layers by turns", "strided"):
        model = model_with(kind)
        wanted = truth(model)
        runner = runner_of(model)
        others = []
        for _ in range(3):
            prefill, _ = read(runner, [9, 8, 7])
            others.append(runner.open(prefill, 40))
        prefill, _ = read(runner, PROMPTS[1])
        handle = runner.open(prefill, len(ANSWER))
        for number, token in enumerate(ANSWER):
            beside = [other for other in others if other is not None]
            found = runner.decode([*beside, handle], [4] * len(beside) + [token])[-1]
            if number % 10 == 5 and beside:
                runner.close(beside[0])
                others.remove(beside[0])
            true = wanted[1][number + 1]
            assert float((found - true).abs().max()) < 2e-5 * float(wanted[1].abs().max())
        runner.close(handle)
        assert runner.held_bytes() == 0


@torch.inference_mode()
def test_where_memory_runs_out_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(model_with("layers by turns"))
    prefill, _ = read(runner, PROMPTS[1])
    handle = runner.open(prefill, 20)
    held = runner.held_bytes()
    resize, calls = KvStore.resize, []

    def scarce(self: KvStore, slot: int, columns: int) -> None:
        calls.append(slot)
        if len(calls) == 3:
            raise MemoryError("no more")
        resize(self, slot, columns)

    with monkeypatch.context() as patched:
        patched.setattr(KvStore, "resize", scarce)
        with pytest.raises(MemoryError):
            runner.begin(PROMPTS[0])
    assert runner.held_bytes() == held
    runner.decode([handle], [5])
    runner.close(handle)
    assert runner.held_bytes() == 0


@pytest.mark.parametrize("failing", range(1, 9))
@torch.inference_mode()
def test_sums_stay_whole_wherever_memory_runs_out(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of a sum or in that of its norm, of whichever layer, when one comes and when one goes."""
    runner = runner_of(model_with("linear"))
    prefill, _ = read(runner, PROMPTS[1])
    handle = runner.open(prefill, 20)
    resized, calls = layer_caches._resized, []

    def scarce(old: torch.Tensor, slots: int) -> torch.Tensor:
        calls.append(slots)
        if len(calls) >= failing:
            raise MemoryError("no more")
        return resized(old, slots)

    with monkeypatch.context() as patched:
        patched.setattr(layer_caches, "_resized", scarce)
        with contextlib.suppress(MemoryError):
            runner.forget(runner.begin(PROMPTS[0]))
    assert len(calls) >= failing
    # Both as if nothing had been.
    other, _ = read(runner, PROMPTS[0])
    beside = runner.open(other, 20)
    found = runner.decode([handle, beside], [ANSWER[0]] * 2)
    for row, wanted in zip(found, truth(model_with("linear"))[1::-1], strict=True):
        assert float((row - wanted[1]).abs().max()) < 2e-5 * float(wanted.abs().max())
    runner.close(handle)
    runner.close(beside)
    assert runner.held_bytes() == 0


@torch.inference_mode()
def test_a_prompt_that_goes_on_is_read_from_where_it_stopped() -> None:
    for kind in ("global tokens", "linear"):
        model = model_with(kind)
        wanted = truth(model)[0]
        runner = runner_of(model)
        prefill, _ = read(runner, PROMPTS[0])
        handle = runner.open(prefill, 8)
        for token in ANSWER[:8]:
            runner.decode([handle], [token])
        runner.close(handle, [*PROMPTS[0], *ANSWER[:8]])
        assert runner.cached_bytes() == runner.bytes_of(108)
        exact = runner.begin([*PROMPTS[0], *ANSWER], exact=True)
        assert exact.cached == 0
        runner.forget(exact)
        prefill, logits = read(runner, [*PROMPTS[0], *ANSWER])
        assert prefill.cached == 108
        assert float((logits - wanted[-1]).abs().max()) < 2e-5 * float(wanted.abs().max())
        runner.forget(prefill)
        runner.shrink(0)
        assert runner.held_bytes() == 0


@torch.inference_mode()
def test_logits_of_a_whole_prompt() -> None:
    model = model_with("strided")
    wanted = model(torch.tensor([PROMPTS[0]]), use_cache=False).logits[0]
    runner = runner_of(model)
    prefill, parts = runner.begin(PROMPTS[0], all_logits=True), []
    while prefill.remaining:
        parts.append(runner.advance(prefill))
    found = torch.cat([part for part in parts if part is not None])
    assert float((found - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())


class Numbers:
    """A tokenizer that writes token ids."""

    def decode(self, ids: list[int], **options: Any) -> str:
        return "".join(f"{token} " for token in ids)


@pytest.mark.parametrize("kind", ["global tokens", "strided"])
def test_what_is_cancelled_gives_its_memory_back(kind: str) -> None:
    """While its prompt is read, and while samples are drawn; with room for little more than one request."""
    runner = runner_of(model_with(kind))
    runner.chunk = runner.piece = 8
    most = runner.bytes_of(140) + runner.bytes_of(100)
    engine = Engine(runner, Numbers(), frozenset(), Limits(8, most, 8))
    held: list[int] = []
    ended = threading.Event()

    def until(kinds: tuple[type, ...]) -> Any:
        seen = threading.Event()

        def hear(events: list[Any]) -> None:
            held.append(runner.held_bytes())
            if any(isinstance(event, kinds) for event in events):
                seen.set()
            if any(isinstance(event, Ended) for event in events):
                ended.set()

        return hear, seen

    engine.start()
    try:
        params = SamplingParams(max_tokens=40, temperature=0.0)
        for kinds in ((), (PromptRead,), (Progress,)):
            ended.clear()
            hear, seen = until(kinds)
            ticket = engine.submit(EngineRequest(tuple(PROMPTS[0]), params, n=2), hear)
            if kinds:
                assert seen.wait(60)
            ticket.cancel()
            assert ended.wait(60)
        ended.clear()
        hear, _ = until((Ended,))
        engine.submit(EngineRequest(tuple(PROMPTS[1]), params, n=3), hear)
        assert ended.wait(60)
    finally:
        engine.close()
    assert max(held) <= most
    with torch.inference_mode():
        runner.shrink(0)
    assert runner.held_bytes() == 0


def test_the_engine_serves_samples_and_requests_side_by_side() -> None:
    """Each gets the tokens that the model likes best after its own prompt, whatever is beside it."""
    model = model_with("global tokens")
    wanted = []
    with torch.inference_mode():
        for prompt in PROMPTS:
            ids = list(prompt)
            for _ in range(12):
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            wanted.append("".join(f"{token} " for token in ids[len(prompt) :]))
    heard: dict[tuple[int, int], str] = {}
    ended = [threading.Event() for _ in PROMPTS]

    def listener(number: int) -> Any:
        def hear(events: list[Any]) -> None:
            for event in events:
                if isinstance(event, Progress):
                    place = number, event.index
                    heard[place] = heard.get(place, "") + event.text
                if isinstance(event, Ended):
                    ended[number].set()

        return hear

    engine = Engine(runner_of(model), Numbers(), frozenset(), Limits(8, 1 << 24, 8))
    engine.start()
    try:
        for number, prompt in enumerate(PROMPTS):
            params = SamplingParams(max_tokens=12, temperature=0.0)
            engine.submit(EngineRequest(tuple(prompt), params, n=2), listener(number))
        assert all(event.wait(60) for event in ended)
    finally:
        engine.close()
    assert heard == {(number, index): wanted[number] for number in range(2) for index in range(2)}


def test_samples_never_wait_for_the_room_of_their_own_prompt() -> None:
    """There is room for one sample, and three share a prompt: one after the other, with the prompt beside."""
    runner = runner_of(model_with("full"))
    engine = Engine(runner, Numbers(), frozenset(), Limits(8, runner.bytes_of(110), 8))
    held, ended = [0], threading.Event()

    def hear(events: list[Any]) -> None:
        held.append(runner.held_bytes())
        if isinstance(events[-1], Ended):
            ended.set()

    engine.start()
    try:
        params = SamplingParams(max_tokens=10, temperature=0.0)
        engine.submit(EngineRequest(tuple(PROMPTS[0]), params, n=3), hear)
        assert ended.wait(60)
    finally:
        engine.close()
    assert runner.bytes_of(110) < max(held) <= runner.bytes_of(110) + runner.bytes_of(100)


@torch.inference_mode()
def test_a_text_shorter_than_window_and_stride_goes_on() -> None:
    model = model_with("strided")
    wanted = model(torch.tensor([[5, 6, *ANSWER[:9]]]), use_cache=False).logits[0]
    runner = runner_of(model)
    prefill, _ = read(runner, [5, 6])
    handle = runner.open(prefill, 9)
    found = torch.cat([runner.decode([handle], [token]) for token in ANSWER[:9]])
    assert float((found - wanted[2:]).abs().max()) < 2e-5 * float(wanted.abs().max())


def loaded(kind: str) -> LoadedModel:
    return LoadedModel(
        name=kind,
        folder=Path("nowhere"),
        model=model_with(kind),
        tokenizer=None,
        kind="decoder",
        head=None,
        labels=(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        notes=(),
        max_length=256,
        chat_template=None,
        eos=frozenset(),
    )


def test_each_model_gets_the_runner_that_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which path the paged runner takes is no matter here, and compiling takes its time.
    monkeypatch.setenv(native.SWITCH, "0")
    assert isinstance(choose_runner(loaded("full"), None), PagedRunner)
    assert isinstance(choose_runner(loaded("full"), None, "int8"), StateRunner)
    for kind in ("window", "layers by turns", "global tokens", "strided", "linear"):
        runner = choose_runner(loaded(kind), 100)
        assert isinstance(runner, StateRunner) and runner.max_length == 100
    # Soft prompts go before keys and values that stay; of transformers' own kinds only.
    assert not isinstance(choose_runner(loaded("window"), None, soft_prompts=True), StateRunner)
    for kind, kv_dtype in (("linear", "auto"), ("full", "int8")):
        with pytest.raises(ModelError, match="soft prompt"):
            choose_runner(loaded(kind), None, kv_dtype, soft_prompts=True)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="cannot stand before"):
        runner_of(model_with("linear")).place(SoftPrompt("PROMPT_TUNING", torch.zeros(2, 64)))


def test_what_does_not_grow_is_promised_once() -> None:
    """A sum takes the same for ten tokens and for two hundred, so as many sequences fit."""
    runner = runner_of(model_with("linear"))
    limits = Limits(8, 3 * runner.bytes_of(1), 8)
    scheduler = Scheduler(limits, runner.room, runner.bytes_per_token, bytes_of=runner.bytes_of)
    scheduler.check(EngineRequest((1,) * 50, SamplingParams(max_tokens=200)))
    small = Scheduler(Limits(8, 100, 8), runner.room, runner.bytes_per_token, bytes_of=runner.bytes_of)
    with pytest.raises(RequestRefused, match="one sample needs") as refused:
        small.check(EngineRequest((1,) * 50, SamplingParams(max_tokens=200)))
    # Fewer tokens would not help.
    assert refused.value.hint == "start it with more --kv-memory"
