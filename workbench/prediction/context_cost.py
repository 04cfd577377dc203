"""What a decoder takes by the length of what it has read, measured: time, memory, and what it keeps."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import torch

from workbench.errors import ModelError
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.state_runner import StateRunner
from workbench.inference.loading.load import load_for_inference
from workbench.inference.server.opening import choose_runner, give_back_memory
from workbench.models.load import load_model
from workbench.ops.sparse_attention.pattern import Pattern
from workbench.recipe import ModelSection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.prediction.events import Events

STEPS = 16
"""Tokens that are written at each length; the middle of their times counts."""
WATCH_SECONDS = 0.005


@dataclass(frozen=True)
class Cost:
    """At `length` tokens: seconds to read them and the most memory beside what was there before; bytes that
    are kept of them; seconds to write one more."""

    length: int
    read_seconds: float
    read_peak_bytes: int
    kept_bytes: int
    token_seconds: float


@dataclass(frozen=True)
class StepCost:
    """Forward and backward pass of one row of `length` tokens: seconds, and memory beside what was there."""

    length: int
    seconds: float
    peak_bytes: int


def context_cost(request: dict[str, Any], events: Events) -> None:
    """Measure the model at each length, with full attention beside it where it has another, and where asked
    for a training step. Raises `ModelError`."""
    lengths: list[int] = sorted(set(request["lengths"]))
    loaded = load_for_inference(request["model"], device=request["device"], dtype=request["dtype"])
    if loaded.kind != "decoder":
        raise ModelError("only a decoder writes token by token", where=request["model"])
    trained = loaded.max_length
    # Rotary positions go on beyond the trained length: what they say there is not asked here.
    longest = max(lengths) + STEPS
    runner = choose_runner(replace(loaded, max_length=longest), longest, request["kv_dtype"])
    most = runner.max_length - STEPS
    if most < lengths[0]:
        raise ModelError(
            f"the model's positions end at {runner.max_length:,} tokens",
            where=request["model"],
            hint=f"--lengths of at most {most:,}",
        )
    fitting = [length for length in lengths if length <= most]
    if len(fitting) < len(lengths):
        events.send("note", text=f"positions end at {runner.max_length:,}: longer ones are left out")
    result: dict[str, Any] = {
        "model": request["model"],
        "runner": runner.name,
        "kv_dtype": request["kv_dtype"],
        "device": str(loaded.device),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "trained_length": trained,
        "costs": costs_of(runner, fitting, _teller(events, "as it is")),
        "full": None,
        "training": None,
    }
    if isinstance(runner, StateRunner) and request["full"] and not runner.is_full:
        plain = StateRunner(runner.weights, [Pattern()] * len(runner.caches), request["kv_dtype"])
        result["full"] = costs_of(plain, fitting, _teller(events, "with full attention"))
    if request["train"]:
        device = loaded.device
        del runner, loaded
        model = load_model(ModelSection(model_name_or_path=request["model"])).to(device)
        result["training"] = steps_of(model, fitting, _teller(events, "training steps"))
    events.send("result", **result)


def _teller(events: Events, what: str) -> Callable[[int, int], None]:
    return lambda done, total: events.progress(f"measuring {what}", done, total)


@torch.inference_mode()
def costs_of(runner: Any, lengths: Sequence[int], told: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """What the engine takes at each length, on random tokens."""
    generator = torch.Generator().manual_seed(0)
    found = []
    # The first call makes what is made once.
    _measure(runner, [1] * min(32, lengths[0]))
    for number, length in enumerate(lengths):
        told(number, len(lengths))
        ids = torch.randint(0, runner.vocabulary, (length,), generator=generator).tolist()
        found.append(asdict(_measure(runner, ids)))
        gc.collect()
    told(len(lengths), len(lengths))
    return found


def _measure(runner: Any, ids: list[int]) -> Cost:
    with _peak(runner.embeddings.device) as peak:
        start = time.perf_counter()
        prefill = runner.begin(ids, exact=True)
        while prefill.remaining:
            runner.advance(prefill)
        _wait()
        read = time.perf_counter() - start
    handle = runner.open(prefill, STEPS, alone=True)
    runner.forget(prefill)
    kept = _kept(runner, handle)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        runner.decode([handle], [1])
        _wait()
        times.append(time.perf_counter() - start)
    runner.close(handle)
    runner.shrink(0)
    return Cost(len(ids), read, peak[0], kept, median(times))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _kept(runner: Any, handle: Any) -> int:
    """Bytes of the tensors that hold what is kept of the sequence."""
    if isinstance(runner, StateRunner):
        return runner.held_bytes()
    if isinstance(runner, PagedRunner):
        parts = (tensor for part in handle.row.segments for tensor in (part.keys, part.values))
        return sum(tensor.numel() * tensor.element_size() for tensor in parts)
    return int(handle.length * runner.bytes_per_token)


def steps_of(model: Any, lengths: Sequence[int], told: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """What a forward and backward pass of one row takes at each length, in fp32, without the optimiser."""
    model.train()
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    found = []
    for number, length in enumerate([lengths[0], *lengths]):
        told(number, len(lengths) + 1)
        ids = torch.randint(0, vocabulary, (1, length), generator=torch.Generator().manual_seed(0))
        ids = ids.to(model.device)
        model.zero_grad()
        gc.collect()
        with _peak(model.device) as peak:
            start = time.perf_counter()
            # Without the head, which is the same for all kinds of attention, and in small models most of it.
            body = getattr(model, model.base_model_prefix)
            states = body(input_ids=ids, use_cache=False).last_hidden_state
            states.float().square().mean().backward()
            _wait()
            seconds = time.perf_counter() - start
        if number:
            found.append(asdict(StepCost(length, seconds, peak[0])))
    told(len(lengths) + 1, len(lengths) + 1)
    return found


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """The most memory within, beside what was there: of the GPU where the model is on one, else of this
    process, as seen every few milliseconds."""
    found = [0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found[0] = torch.cuda.max_memory_allocated(device) - before
        return
    # What the C library keeps of what was freed would be taken for the next one's.
    gc.collect()
    give_back_memory()
    process, stop = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(WATCH_SECONDS):
            found[0] = max(found[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        found[0] = max(found[0], process.memory_info().rss - before)
