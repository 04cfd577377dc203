from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import hosting, service, serving
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from workbench.errors import ServerError
from workbench.inference.client import Client
from workbench.inference.generation import Delta, Request, Sampling
from workbench.inference.servers import Server, server_at

HI: tuple[dict[str, Any], ...] = ({"role": "user", "content": "hi"},)
ASK = Request(messages=HI, sampling=Sampling(max_tokens=5))
Answer = Callable[[dict[str, Any]], Response]


@contextmanager
def fake(answer: Answer, folder: Path) -> Iterator[Client]:
    """A client of a server that answers every chat and completion as it is told here."""

    async def endpoint(request: HttpRequest) -> Response:
        return answer(await request.json() if request.method == "POST" else {})

    routes = [
        Route(place, endpoint, methods=["POST", "GET"])
        for place in ("/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize")
    ]
    with hosting(Starlette(routes=routes), folder) as path:
        yield Client(Server("box", socket=path))


def events(*chunks: Any, done: bool = True) -> Response:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"] * done
    return StreamingResponse(iter(lines), media_type="text/event-stream")


def piece(text: str | None = None, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def refusal(message: str, status: int = 400, **more: Any) -> Response:
    return JSONResponse({"error": {"message": message, **more}}, status)


async def failure(client: Client, request: Request = ASK) -> ServerError:
    async with client:
        with pytest.raises(ServerError) as raised:
            await (await client.model("m")).generate(request)
    return raised.value


@pytest.mark.parametrize(
    "words",
    [
        "Unrecognized request argument supplied: top_k",
        "property 'top_k' is unsupported",
        'Unknown name "top_k": Cannot find field.',
        "body.top_k: Extra inputs are not permitted",
    ],
)
async def test_a_setting_that_a_server_does_not_know_is_left_out_and_said(tmp_path: Path, words: str) -> None:
    asked: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> Response:
        asked.append(body)
        return refusal(words) if "top_k" in body else events(piece("yes"), piece(reason="stop"))

    request = Request(messages=HI, sampling=Sampling(top_k=5, min_p=0.1, seed=1))
    with fake(answer, tmp_path) as client:
        async with client:
            model = await client.model("m")
            first, second = await model.generate(request), await model.generate(request)
    assert first.text == second.text == "yes"
    assert first.notes == ("box does not know top_k",)
    assert len(asked) == 3
    assert asked[-1]["min_p"] == 0.1
    assert asked[-1]["seed"] == 1


async def test_field_errors_in_a_list_are_understood(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Response:
        if "min_p" in body:
            entry = {"loc": ["body", "min_p"], "msg": "Extra inputs are not permitted"}
            return JSONResponse({"detail": [entry]}, 422)
        return events(piece("yes", "stop"))

    with fake(answer, tmp_path) as client:
        async with client:
            got = await (await client.model("m")).generate(Request(messages=HI, sampling=Sampling(min_p=0.1)))
    assert got.notes == ("box does not know min_p",)


async def test_all_that_can_be_left_out_is_one_after_the_other(tmp_path: Path) -> None:
    optional = ("top_k", "min_p", "repetition_penalty", "seed", "logprobs", "stream_options")

    def answer(body: dict[str, Any]) -> Response:
        for name in optional:
            if name in body:
                return refusal(f"{name} is not supported")
        return events(piece("yes", "stop"))

    sampling = Sampling(top_k=5, min_p=0.1, repetition_penalty=1.1, seed=1)
    with fake(answer, tmp_path) as client:
        async with client:
            got = await (await client.model("m")).generate(
                Request(messages=HI, sampling=sampling, logprobs=2)
            )
    assert got.text == "yes"
    assert len(got.notes) == len(optional)


async def test_a_value_that_is_wrong_is_an_error_and_no_note(tmp_path: Path) -> None:
    with fake(lambda body: refusal("top_k: must be at least -1"), tmp_path) as client:
        error = await failure(client, Request(messages=HI, sampling=Sampling(top_k=-5)))
    assert error.message == "top_k: must be at least -1"


async def test_a_server_that_refuses_for_ever_is_not_asked_for_ever(tmp_path: Path) -> None:
    with fake(lambda body: refusal("stream_options and seed are not supported"), tmp_path) as client:
        error = await failure(client)
    assert "not supported" in error.message


@pytest.mark.parametrize("how", ["ignores", "refuses"])
async def test_samples_are_asked_for_singly_where_a_server_gives_one(tmp_path: Path, how: str) -> None:
    seeds: list[int] = []

    def answer(body: dict[str, Any]) -> Response:
        if how == "refuses" and "n" in body:
            return refusal("Only one completion choice is allowed")
        seeds.append(body["seed"])
        return events(piece(f"seed {body['seed']}"), piece(reason="stop"))

    heard: list[Delta] = []
    request = Request(messages=HI, n=3, sampling=Sampling(seed=10))
    with fake(answer, tmp_path) as client:
        async with client:
            model = await client.model("m")
            first = await model.generate(request, heard.append)
            second = await model.generate(request)
    assert [one.text for one in first.completions] == ["seed 10", "seed 11", "seed 12"]
    assert [one.text for one in second.completions] == [one.text for one in first.completions]
    assert {delta.index for delta in heard} == {0, 1, 2}
    assert first.notes == ("box does not know n",)
    assert len(seeds) == 6


async def test_one_of_several_single_requests_failing_fails_the_whole(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Response:
        if body["seed"] == 2:
            return refusal("too hot", 500)
        return events(piece("yes", "stop"))

    with fake(answer, tmp_path) as client:
        error = await failure(client, Request(messages=HI, n=3, sampling=Sampling(seed=0)))
    assert error.message == "too hot"


async def test_a_stream_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    with fake(lambda body: events(piece("half an ans"), done=False), tmp_path) as client:
        error = await failure(client)
    assert "broke off in the middle" in error.message
    assert error.where.endswith("s.sock")


async def test_a_stream_without_a_word_is_no_answer(tmp_path: Path) -> None:
    for place, response in enumerate((events(), HTMLResponse("<html><title>Hello</title>"))):
        (tmp_path / str(place)).mkdir()
        with fake(lambda body, response=response: response, tmp_path / str(place)) as client:  # type: ignore[misc]
            error = await failure(client)
        assert "before its answer began" in error.message


async def test_an_error_in_the_middle_of_a_stream_is_told(tmp_path: Path) -> None:
    broken = {"error": {"message": "the GPU is on fire", "type": "server_error"}}
    with fake(lambda body: events(piece("half"), broken), tmp_path) as client:
        error = await failure(client)
    assert error.message == "the GPU is on fire"


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"index": 7, "delta": {"content": "x"}}]},
        {"choices": [{"index": -1, "delta": {"content": "x"}}]},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 0, "delta": {"content": 5}, "finish_reason": "stop"}]},
        {"choices": "none"},
        ["a", "list"],
        "a text",
    ],
)
async def test_chunks_that_are_none_are_one_clear_error(tmp_path: Path, chunk: Any) -> None:
    with fake(lambda body: events(chunk), tmp_path) as client:
        error = await failure(client)
    assert "not of the protocol" in error.message


async def test_chunks_without_choices_are_passed_over(tmp_path: Path) -> None:
    chunks: tuple[Any, ...] = ({"choices": []}, {"choices": None}, {}, piece("yes", "stop"))
    with fake(lambda body: events(*chunks), tmp_path) as client:
        async with client:
            assert (await (await client.model("m")).generate(ASK)).text == "yes"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda: HTMLResponse("<html>Bad gateway</html>", 502), "status 502"),
        (lambda: Response(status_code=500), "status 500"),
        (lambda: Response("out of order", 503), "out of order"),
        (lambda: JSONResponse({"detail": "no such thing"}, 400), "no such thing"),
        (lambda: JSONResponse({"error": "plain words"}, 429), "plain words"),
        (lambda: JSONResponse([1, 2], 400), "status 400"),
        (lambda: Response("x" * 5000, 500), "x" * 500 + "…"),
    ],
)
async def test_the_servers_own_words_are_passed_on(
    tmp_path: Path, response: Callable[[], Response], words: str
) -> None:
    with fake(lambda body: response(), tmp_path) as client:
        error = await failure(client)
    assert words in error.message
    assert len(error.message) < 600


async def test_terminal_escapes_in_an_error_stay_data(tmp_path: Path) -> None:
    with fake(lambda body: refusal("bad \x1b[31m[b]\x07"), tmp_path) as client:
        error = await failure(client)
    assert error.message == "bad \x1b[31m[b]\x07"


async def test_a_list_of_models_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    answers = [HTMLResponse("<html>hello</html>"), JSONResponse({"data": 5}), JSONResponse([])]
    for place, response in enumerate(answers):
        (tmp_path / str(place)).mkdir()
        with fake(lambda body, response=response: response, tmp_path / str(place)) as client:  # type: ignore[misc]
            async with client:
                with pytest.raises(ServerError, match="not of the protocol"):
                    await client.models()


async def test_a_server_with_several_models_wants_one_named(tmp_path: Path) -> None:
    models = {"object": "list", "data": [{"id": name, "object": "model"} for name in ("a", "b")]}
    with fake(lambda body: JSONResponse(models), tmp_path) as client:
        async with client:
            with pytest.raises(ServerError, match="2 models") as raised:
                await client.model()
    assert raised.value.hint == "name one: a, b"


async def test_a_server_that_cannot_tokenize_says_so(tmp_path: Path) -> None:
    with hosting(Starlette(), tmp_path) as path:
        async with Client(Server("box", socket=path)) as client:
            with pytest.raises(ServerError, match="no /tokenize"):
                await (await client.model("m")).tokens(ASK)


@pytest.mark.parametrize(
    "response",
    [
        lambda: HTMLResponse("<html>"),
        lambda: JSONResponse({"count": 1}),
        lambda: JSONResponse({"tokens": [1, 2], "token_strs": ["a"]}),
        lambda: JSONResponse({"tokens": 5}),
        lambda: JSONResponse([1]),
    ],
)
async def test_tokens_that_are_none_are_one_clear_error(
    tmp_path: Path, response: Callable[[], Response]
) -> None:
    with fake(lambda body: response(), tmp_path) as client:
        async with client:
            with pytest.raises(ServerError, match="not of the protocol"):
                await (await client.model("m")).tokens(ASK)


async def test_a_gateway_that_answers_for_the_server_is_told_by_its_status(tmp_path: Path) -> None:
    with fake(lambda body: HTMLResponse("<html>Bad gateway</html>", 502), tmp_path) as client:
        async with client:
            with pytest.raises(ServerError, match="status 502"):
                await (await client.model("m")).tokens(ASK)


async def test_the_wrong_key_is_named_with_where_it_belongs(tmp_path: Path) -> None:
    with serving(service(), tmp_path, key="right") as path:
        error = await failure(Client(Server("box", socket=path, key="wr0ng")))
        assert "does not accept the key" in error.message
        assert "servers.yaml" in error.hint
        assert "wr0ng" not in error.render()
        async with Client(Server("box", socket=path, key="right")) as client:
            assert (await (await client.model()).tokens(ASK)).tokens[0].text == "<|im_start|>"
        async with Client(Server("box", socket=path)) as client:
            with pytest.raises(ServerError, match="key"):
                await (await client.model("tiny")).tokens(ASK)


async def test_a_path_without_v1_is_explained(tmp_path: Path) -> None:
    with hosting(Starlette(), tmp_path) as path:
        client = Client(Server("box", socket=path))
        error = await failure(client)
    assert "404" in error.message or "Not Found" in error.message


@asynccontextmanager
async def behaving(conversation: Any, folder: Path) -> AsyncIterator[Server]:
    """A server that speaks no HTTP unless `conversation(reader, writer)` does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        finally:
            writer.close()

    path = folder / "raw.sock"
    async with await asyncio.start_unix_server(handle, path):
        yield Server("box", socket=path)


async def test_a_server_that_closes_at_once(tmp_path: Path) -> None:
    async def close(reader: Any, writer: Any) -> None:
        return

    async with behaving(close, tmp_path) as server:
        error = await failure(Client(server))
    assert "cannot be reached, or broke off" in error.message
    assert "workbench serve" in error.hint


async def test_a_server_that_speaks_another_language(tmp_path: Path) -> None:
    async def greet(reader: Any, writer: Any) -> None:
        writer.write(b"220 mail.example.org ESMTP ready\r\n\r\n")
        await writer.drain()
        await reader.read(10)

    async with behaving(greet, tmp_path) as server:
        error = await failure(Client(server))
    assert "cannot be reached, or broke off" in error.message


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"])
async def test_a_server_that_falls_silent_is_given_up(tmp_path: Path, begun: bytes) -> None:
    async def say_nothing(reader: Any, writer: Any) -> None:
        writer.write(begun)
        await reader.read()

    async with behaving(say_nothing, tmp_path) as server:
        error = await failure(Client(server, silence_seconds=0.2))
    assert "did not answer in time" in error.message


async def test_a_body_that_ends_too_early(tmp_path: Path) -> None:
    async def half(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"6\r\ndata: \r\n"
        )
        await writer.drain()

    async with behaving(half, tmp_path) as server:
        error = await failure(Client(server))
    assert "broke off" in error.message


async def test_nobody_is_there(tmp_path: Path) -> None:
    servers = [
        Server("box", socket=tmp_path / "none.sock"),
        server_at("http://127.0.0.1:1/v1"),
        server_at("http://host.invalid/v1"),
    ]
    for server in servers:
        error = await failure(Client(server))
        assert "cannot be reached" in error.message
        assert error.where == server.where
