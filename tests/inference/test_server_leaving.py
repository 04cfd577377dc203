from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from chat_templates import HERMES
from served import openai_client, plain_client, service, serving, slow_down, until

from workbench.inference.engine.engine import Engine
from workbench.inference.server.service import Service

STEP = 0.01
LONG = {"prompt": "the", "max_tokens": 1500, "seed": 1}
HI = [{"role": "user", "content": "hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "maximum": 99}},
            "required": ["a"],
        },
    },
}


@pytest.fixture
def served() -> Service:
    return service(HERMES, max_sequences=8)


@pytest.fixture
def path(served: Service, tmp_path: Path) -> Iterator[Path]:
    with serving(served, tmp_path) as path:
        yield path


def engine_of(served: Service) -> Engine:
    assert served.engine is not None
    return served.engine


def is_free(served: Service) -> Callable[[], bool]:
    load = engine_of(served)

    def free() -> bool:
        now = load.load
        return now["running"] == now["active"] == now["waiting"] == now["promised_bytes"] == 0

    return free


def send(path: Path, place: str, body: dict[str, Any], *, only: int | None = None) -> socket.socket:
    """A request, or the first bytes of one, from a client that is only a socket."""
    content = json.dumps(body).encode()
    head = f"POST {place} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    connection.sendall((head + content)[:only])
    return connection


def test_closing_a_stream_frees_its_slot_within_a_step(served: Service, path: Path) -> None:
    slow_down(served, STEP)
    engine = engine_of(served)
    with openai_client(path) as client:
        stream = client.completions.create(model="tiny", stream=True, n=4, **LONG)
        for _ in zip(range(10), stream, strict=False):
            pass
        assert engine.load["active"] == 4
        before = engine.counters.steps
        stream.close()
        until(is_free(served))
    # Of 1,500: those that are taken while the news of its leaving is on the way.
    assert engine.counters.steps - before < 50
    assert engine.counters.cancelled == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", ["/v1/completions", "/v1/chat/completions"])
def test_a_client_that_dies_is_noticed(served: Service, path: Path, place: str, stream: bool) -> None:
    slow_down(served, STEP)
    engine = engine_of(served)
    messages = {"messages": HI} if "chat" in place else {}
    connection = send(path, place, {**LONG, **messages, "stream": stream, "ignore_eos": True})
    until(lambda: engine.counters.generated_tokens > 2)
    before = engine.counters.steps
    connection.close()
    until(is_free(served))
    assert engine.counters.steps - before < 50
    assert engine.counters.cancelled == 1


def test_a_client_that_leaves_while_it_waits_is_never_served(served: Service, path: Path) -> None:
    slow_down(served, STEP)
    engine = engine_of(served)
    busy = send(path, "/v1/completions", {**LONG, "n": 8, "ignore_eos": True})
    until(lambda: engine.load["active"] == 8)
    waiting = [
        send(path, "/v1/completions", {**LONG, "stream": stream}) for stream in (False, True, False, True)
    ]
    until(lambda: engine.load["waiting"] == 4)
    for connection in waiting:
        connection.close()
    until(lambda: engine.load["waiting"] == 0)
    assert engine.load["active"] == 8
    busy.close()
    until(is_free(served))
    assert engine.counters.cancelled == 5


def test_requests_that_are_cut_off_before_they_are_whole_reach_nobody(served: Service, path: Path) -> None:
    for length in (1, 30, 60, 100):
        send(path, "/v1/completions", LONG, only=length).close()
    with plain_client(path) as http:
        assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 2}).status_code == 200
    assert engine_of(served).counters.requests == 1


def test_several_prompts_are_all_given_up_together(served: Service, path: Path) -> None:
    slow_down(served, STEP)
    engine = engine_of(served)
    connection = send(path, "/v1/completions", {**LONG, "prompt": ["the", "and"], "ignore_eos": True})
    until(lambda: engine.load["active"] == 2)
    connection.close()
    until(is_free(served))
    assert engine.counters.cancelled == 2


def test_a_client_that_does_not_read_holds_up_nobody(served: Service, path: Path) -> None:
    deaf = [
        send(path, "/v1/completions", {**LONG, "stream": True, "logprobs": 20, "ignore_eos": True})
        for _ in range(4)
    ]
    with plain_client(path) as http:
        started = time.monotonic()
        assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 5}).status_code == 200
        assert time.monotonic() - started < 5
    for connection in deaf:
        connection.close()
    until(is_free(served))


@asynccontextmanager
async def official(path: Path) -> AsyncIterator[Any]:
    import httpx2
    from openai import AsyncOpenAI

    async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)), timeout=60) as http:
        yield AsyncOpenAI(base_url="http://tiny/v1", api_key="none", http_client=http, max_retries=0)


def mixed() -> list[dict[str, Any]]:
    """Requests of every kind, each under a seed so that its answer is always the same."""
    long = "and the rest of it " * 12
    schema = {"type": "object", "properties": {"ok": {"enum": [True, False]}}, "required": ["ok"]}
    kinds: list[dict[str, Any]] = [
        {"prompt": "the", "max_tokens": 30},
        {"prompt": long, "max_tokens": 20, "n": 3},
        {"prompt": long + "end", "max_tokens": 25, "temperature": 0},
        {"prompt": ["a", "b"], "max_tokens": 15, "echo": True, "logprobs": 2},
        {"messages": HI, "max_tokens": 30, "top_p": 0.9},
        {"messages": [{"role": "user", "content": long}], "max_tokens": 20, "n": 2, "stop": ["e"]},
        {"messages": HI, "max_tokens": 60, "tools": [TOOL], "tool_choice": "required"},
        {
            "messages": HI,
            "max_tokens": 60,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        },
    ]
    return [
        {"model": "tiny", "seed": place, **kind, "stream": stream}
        for place, kind in enumerate(kinds)
        for stream in (False, True)
    ]


async def answer_of(client: Any, request: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Number, text with calls, and finish reason of each choice."""
    create = client.chat.completions.create if "messages" in request else client.completions.create
    if not request["stream"]:
        whole = await create(**request)
        return [(one.index, _said(one, "message"), one.finish_reason) for one in whole.choices]
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    async with await create(**request) as stream:
        async for chunk in stream:
            for one in chunk.choices:
                texts[one.index] = texts.get(one.index, "") + _said(one, "delta")
                reasons[one.index] = one.finish_reason
    return [(index, text, reasons[index]) for index, text in sorted(texts.items())]


def _said(choice: Any, part: str) -> str:
    message = getattr(choice, part, None)
    if message is None:
        return str(choice.text)
    calls = "".join(f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ())
    return (message.content or "") + calls


async def test_two_hundred_requests_of_which_a_third_are_given_up(served: Service, path: Path) -> None:
    requests = mixed()
    async with official(path) as client:
        alone = [await answer_of(client, request) for request in requests]
    for whole, streamed in zip(alone[::2], alone[1::2], strict=True):
        assert whole == streamed
    engine = engine_of(served)
    memory = psutil.Process()
    before = memory.memory_info().rss
    dice = random.Random(0)
    order = [dice.randrange(len(requests)) for _ in range(200)]
    given_up = set(dice.sample(range(200), 67))
    queue = iter(enumerate(order))
    right = 0

    async def work(number: int) -> None:
        nonlocal right
        async with official(path) as client:
            for place, kind in queue:
                if place not in given_up:
                    assert await answer_of(client, requests[kind]) == alone[kind]
                    right += 1
                elif place % 4 == 0:
                    body = requests[kind]
                    where = "/v1/chat/completions" if "messages" in body else "/v1/completions"
                    crashing = send(path, where, body, only=50 if place % 8 else None)
                    await asyncio.sleep(dice.random() * 0.05)
                    crashing.close()
                else:
                    task = asyncio.create_task(answer_of(client, requests[kind]))
                    await asyncio.sleep(dice.random() * 0.1)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    async with asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(work(number))
    await asyncio.to_thread(until, is_free(served))
    counters = engine.counters
    assert right == 133
    assert counters.cancelled > 10
    assert counters.failed == 0
    assert counters.requests == counters.finished + counters.cancelled
    assert engine.load["promised_bytes"] == 0
    assert memory.memory_info().rss - before < 200 << 20
