from __future__ import annotations

import string
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from fake_runner import EOS, ByteTokenizer, FakeRunner

from workbench.errors import ModelError
from workbench.inference.engine.engine import Engine, Ticket
from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Event,
    Progress,
    PromptRead,
    QueueFull,
    RequestRefused,
    SamplingParams,
)
from workbench.inference.limits import Limits

LETTERS = string.ascii_lowercase
Start = Callable[..., Engine]


class Heard:
    """What a request was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()

    def __call__(self, events: list[Event]) -> None:
        self.events += events
        if any(isinstance(event, Ended) for event in events):
            self.ended.set()

    def wait(self) -> Ended:
        assert self.ended.wait(10), "the request never ended"
        last = self.events[-1]
        assert isinstance(last, Ended)
        return last

    def text(self, index: int = 0) -> str:
        steps = [event for event in self.events if isinstance(event, Progress)]
        return "".join(step.text for step in steps if step.index == index)

    def reason(self, index: int = 0) -> str | None:
        steps = [event for event in self.events if isinstance(event, Progress) and event.index == index]
        return steps[-1].finish_reason


@pytest.fixture
def start() -> Iterator[Start]:
    engines: list[Engine] = []

    def make(runner: FakeRunner, **limits: int) -> Engine:
        engine = Engine(runner, ByteTokenizer(), frozenset({EOS}), Limits(**limits))
        engines.append(engine)
        engine.start()
        return engine

    yield make
    for engine in engines:
        engine.close()


def request(prompt: str, n: int = 1, **settings: Any) -> EngineRequest:
    params = SamplingParams(**{"max_tokens": 100, "temperature": 0.0, **settings})
    return EngineRequest(tuple(prompt.encode()), params, n=n)


def ask(engine: Engine, asked: EngineRequest) -> tuple[Ticket, Heard]:
    heard = Heard()
    return engine.submit(asked, heard), heard


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_an_answer_runs_to_its_end(start: Start) -> None:
    runner = FakeRunner()
    _, heard = ask(start(runner), request("tell me of w"))
    assert heard.wait() == Ended()
    assert heard.text() == "xyz"
    assert heard.reason() == "stop"
    assert [type(event) for event in heard.events[:1]] == [PromptRead]
    assert (runner.opened, runner.prefills) == ([], [])


def test_an_answer_is_cut_at_its_length_and_at_stop_strings(start: Start) -> None:
    engine = start(FakeRunner())
    _, short = ask(engine, request("a", max_tokens=3))
    _, stopped = ask(engine, request("a", stop=("klm",)))
    _, shown = ask(engine, request("a", stop=("klm",), include_stop=True))
    assert (short.wait(), short.text(), short.reason()) == (Ended(), "bcd", "length")
    assert (stopped.wait(), stopped.text(), stopped.reason()) == (Ended(), "bcdefghij", "stop")
    assert (shown.wait(), shown.text()) == (Ended(), "bcdefghijklm")


def test_many_requests_are_served_together_and_each_gets_its_own(start: Start) -> None:
    runner = FakeRunner(seconds=0.001)
    engine = start(runner, max_sequences=8)
    asked = [ask(engine, request(letter * 20, n=2)) for letter in LETTERS[:20]]
    for letter, (_, heard) in zip(LETTERS, asked, strict=False):
        heard.wait()
        wanted = LETTERS[LETTERS.index(letter) + 1 :]
        assert heard.text(0) == heard.text(1) == wanted
    assert max(runner.widths) == 8
    assert (runner.opened, runner.prefills) == ([], [])
    assert engine.load["promised_bytes"] == 0
    assert engine.counters.finished == 20


def test_samples_of_one_prompt_read_it_once(start: Start) -> None:
    runner = FakeRunner()
    begun: list[Any] = []
    begin = runner.begin
    runner.begin = lambda *args, **options: begun.append(1) or begin(*args, **options)  # type: ignore
    _, heard = ask(start(runner, max_sequences=4), request("mmm", n=10))
    heard.wait()
    assert len(begun) == 1
    assert {heard.text(index) for index in range(10)} == {LETTERS[13:]}


def test_a_cancelled_request_leaves_at_once_and_others_stay(start: Start) -> None:
    runner = FakeRunner(seconds=0.01)
    engine = start(runner, max_sequences=2)
    first, lost = ask(engine, request("a"))
    _, kept = ask(engine, request("b"))
    waiting, never = ask(engine, request("c"))
    eventually(lambda: len(runner.opened) == 2)
    first.cancel()
    waiting.cancel()
    assert lost.wait().cancelled
    assert never.wait().cancelled
    assert never.text() == ""
    kept.wait()
    assert kept.text() == LETTERS[2:]
    assert (runner.opened, runner.prefills) == ([], [])
    assert engine.counters.cancelled == 2


def test_a_request_cancelled_while_its_prompt_is_read_leaves_nothing(start: Start) -> None:
    runner = FakeRunner(chunk=1)
    engine = start(runner)
    ticket, heard = ask(engine, request("x" * 900, max_tokens=2))
    ticket.cancel()
    heard.wait()
    eventually(lambda: not runner.prefills and not runner.opened)


def test_what_cannot_fit_is_refused_with_the_numbers(start: Start) -> None:
    engine = start(FakeRunner(max_length=50), memory_bytes=40 * 1024)
    with pytest.raises(
        RequestRefused, match="30 tokens this model has room for 20, and max_tokens is 21"
    ) as refused:
        engine.submit(request("x" * 30, max_tokens=21), Heard())
    assert refused.value.hint == "ask for at most 20 tokens"
    with pytest.raises(RequestRefused, match="60 tokens leave no room") as refused:
        engine.submit(request("x" * 60, max_tokens=1), Heard())
    assert refused.value.hint == "shorten it by at least 11 tokens"
    with pytest.raises(RequestRefused, match="45 tokens of 1,024 bytes") as refused:
        engine.submit(request("x" * 30, max_tokens=15), Heard())
    assert "at most 40 tokens fit" in refused.value.hint
    with pytest.raises(RequestRefused, match="empty"):
        engine.submit(request(""), Heard())
    assert engine.counters.refused == 4


def test_the_queue_has_a_bound(start: Start) -> None:
    engine = start(FakeRunner(seconds=0.05), max_sequences=1, max_queue=3)
    asked = [ask(engine, request("y"))]
    eventually(lambda: engine.load["running"] == 1)
    with pytest.raises(QueueFull, match="3 requests are waiting"):
        for _ in range(10):
            asked.append(ask(engine, request("y")))
    assert len(asked) == 4
    for _, heard in asked:
        heard.wait()
        assert heard.text() == "z"


def test_memory_is_promised_before_a_sample_begins(start: Start) -> None:
    runner = FakeRunner(seconds=0.001)
    # One prompt of 10 tokens and two samples of 20 make 50; a third would not fit.
    engine = start(runner, memory_bytes=55 * 1024)
    _, heard = ask(engine, request("a" * 10, n=5, max_tokens=20))
    heard.wait()
    assert max(runner.widths) == 2
    assert all(heard.text(index) == LETTERS[1:21] for index in range(5))


def test_without_shared_prompts_each_sample_needs_its_own(start: Start) -> None:
    runner = FakeRunner(seconds=0.001, shares_prompt=False)
    engine = start(runner, memory_bytes=65 * 1024)
    _, heard = ask(engine, request("a" * 10, n=5, max_tokens=20))
    heard.wait()
    assert max(runner.widths) == 2


def test_a_step_that_fails_tells_those_it_served_and_the_next_are_served(start: Start) -> None:
    runner = FakeRunner(fail_at_step=3)
    engine = start(runner)
    _, heard = ask(engine, request("a"))
    error = heard.wait().error
    assert error is not None
    assert "fell off the bus" in error.message
    assert (runner.opened, runner.prefills) == ([], [])
    _, after = ask(engine, request("x"))
    assert after.wait() == Ended()
    assert after.text() == "yz"


def test_what_a_model_cannot_do_for_one_request_ends_that_one(start: Start) -> None:
    runner = FakeRunner(seconds=0.001)
    begin = runner.begin

    def refuse(prompt: Sequence[int], **options: Any) -> Any:
        if len(prompt) == 3:
            raise ModelError("not that one", hint="another")
        return begin(prompt, **options)

    runner.begin = refuse  # type: ignore[method-assign]
    engine = start(runner)
    _, kept = ask(engine, request("a"))
    _, refused = ask(engine, request("abc"))
    _, after = ask(engine, request("b"))
    error = refused.wait().error
    assert isinstance(error, RequestRefused)
    assert (error.message, error.hint) == ("not that one", "another")
    assert (kept.wait(), after.wait()) == (Ended(), Ended())
    assert (kept.text(), after.text()) == (LETTERS[1:], LETTERS[2:])


def test_a_listener_that_fails_hurts_nobody_else(start: Start) -> None:
    runner = FakeRunner(seconds=0.001)
    engine = start(runner)

    def broken(events: list[Event]) -> None:
        raise ValueError("nobody there")

    engine.submit(request("a"), broken)
    _, heard = ask(engine, request("a"))
    heard.wait()
    assert heard.text() == LETTERS[1:]
    eventually(lambda: engine.load["running"] == 0)


def test_a_closed_engine_ends_what_it_had(start: Start) -> None:
    engine = start(FakeRunner(seconds=0.01), max_sequences=1)
    _, active = ask(engine, request("a"))
    _, waiting = ask(engine, request("a"))
    engine.close()
    assert active.wait().error is not None
    assert waiting.wait().error is not None
    with pytest.raises(QueueFull, match="closing"):
        engine.submit(request("a"), Heard())


def test_seeded_answers_repeat_whatever_else_is_asked(start: Start) -> None:
    def answers(noise: int, batch_invariant: bool) -> list[str]:
        runner = FakeRunner(sharpness=1.0, batch_invariant=batch_invariant)
        engine = start(runner, max_sequences=6)
        others = [ask(engine, request("q" * 5, temperature=1.0)) for _ in range(noise)]
        _, heard = ask(engine, request("hello", n=3, temperature=1.0, seed=11, max_tokens=30))
        others += [ask(engine, request("r" * 3, temperature=1.0)) for _ in range(noise)]
        heard.wait()
        for _, other in others:
            other.wait()
        if not batch_invariant and not noise:
            assert set(runner.widths) == {1}
        return [heard.text(index) for index in range(3)]

    alone = answers(0, True)
    assert len(set(alone)) == 3
    assert answers(4, True) == answers(0, False) == answers(4, False) == alone


def test_log_probabilities_of_prompt_and_answer(start: Start) -> None:
    runner = FakeRunner(chunk=2)
    asked = EngineRequest(
        tuple(b"abcxde"),
        SamplingParams(max_tokens=2, temperature=0.0),
        logprobs=2,
        prompt_logprobs=True,
    )
    _, heard = ask(start(runner), asked)
    heard.wait()
    read = heard.events[0]
    assert isinstance(read, PromptRead)
    assert [token.id for token in read.tokens] == list(b"abcxde")
    assert read.tokens[0].logprob is None
    for before, token in zip(b"abcxd", read.tokens[1:], strict=True):
        wanted = runner.logits_after(before).log_softmax(-1)
        assert token.logprob == pytest.approx(wanted[token.id].item())
        assert len(token.top) == 2
    steps = [event for event in heard.events if isinstance(event, Progress)]
    assert [step.tokens[0].id for step in steps] == list(b"fg")
    assert all(step.tokens[0].logprob == pytest.approx(0, abs=1e-6) for step in steps)
