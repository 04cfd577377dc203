from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from served import openai_client, plain_client, service, serving

from workbench.inference.server.exchange import LARGEST_BODY
from workbench.inference.server.service import Service

HI = [{"role": "user", "content": "hi"}]
PLACES = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"]


@pytest.fixture(scope="module")
def served() -> Service:
    served = service()
    served.name = "maker/tiny"
    served.details = {"dtype": "float32", "notes": ["a note"]}
    return served


@pytest.fixture(scope="module")
def path(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(served, tmp_path_factory.mktemp("s")) as path:
        yield path


@pytest.fixture
def client(path: Path) -> Iterator[Any]:
    with openai_client(path) as client:
        yield client


@pytest.fixture
def http(path: Path) -> Iterator[Any]:
    with plain_client(path) as http:
        yield http


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(service(), tmp_path_factory.mktemp("s"), key="open sésame") as path:
        yield path


def assert_is_error(answer: Any, status: int) -> dict[str, Any]:
    """It has the protocol's form."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)


def test_the_model_is_listed_with_what_it_is(client: Any, served: Service) -> None:
    (model,) = client.models.list().data
    assert model.id == "maker/tiny"
    assert model.owned_by == "workbench"
    assert model.max_model_len == served.max_length
    assert model.dtype == "float32"
    assert model.notes == ["a note"]
    assert client.models.retrieve("maker/tiny").id == "maker/tiny"


def test_another_model_is_not_here(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="no model “gpt-9”.*this is maker/tiny") as raised:
        client.chat.completions.create(model="gpt-9", messages=HI)
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


@pytest.mark.parametrize("name", ["maker/tiny", "default", "", None])
def test_the_one_model_there_is_need_not_be_named(http: Any, name: str | None) -> None:
    body = {"model": name, "prompt": "the", "max_tokens": 1}
    assert http.post("/v1/completions", json=body).json()["model"] == "maker/tiny"


def test_health_tells_of_the_load(http: Any) -> None:
    told = http.get("/health").json()
    assert told["status"] == "ok"
    assert told["running"] == told["active"] == told["waiting"] == 0
    assert {"requests", "generated_tokens", "promised_bytes"} <= set(told)


def test_what_is_not_there_is_404_and_the_wrong_method_405(http: Any) -> None:
    error = assert_is_error(http.get("/v1/nothing"), 404)
    assert error["param"] == "/v1/nothing"
    error = assert_is_error(http.get("/v1/completions"), 405)
    assert "GET" in error["message"]
    assert_is_error(http.post("/v1/models", json={}), 405)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b'{"a": NaN}', b'{"prompt": "\\ud800"}', b"[" * 10_000],
)
def test_what_is_no_request_is_refused(http: Any, place: str, body: bytes) -> None:
    error = assert_is_error(http.post(place, content=body), 400)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": HI, "temperature": "warm"}, "temperature"),
        ({"messages": HI, "n": 1.5}, "n"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens"),
        ({"messages": HI, "top_logprobs": 3}, "top_logprobs"),
        ({"messages": HI, "functions": [{"name": "f"}]}, "functions"),
        ({"messages": HI, "modalities": ["audio"]}, "modalities"),
        ({"messages": HI, "stream_options": 5}, "stream_options"),
    ],
)
def test_the_field_that_is_wrong_is_named(http: Any, body: dict[str, Any], field: str) -> None:
    assert assert_is_error(http.post("/v1/chat/completions", json=body), 400)["param"] == field


def test_fields_that_change_nothing_are_taken(http: Any) -> None:
    body = {
        "messages": HI,
        "max_tokens": 1,
        "user": "me",
        "store": False,
        "metadata": {"a": "b"},
        "modalities": ["text"],
        "service_tier": "auto",
        "functions": [],
    }
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_a_request_that_is_too_large_is_refused_and_the_client_hears_it(client: Any, http: Any) -> None:
    text = "x" * (LARGEST_BODY + 1)
    assert_is_error(http.post("/tokenize", json={"prompt": text}), 413)
    with pytest.raises(openai.APIStatusError, match="more than 32 MiB") as raised:
        client.completions.create(model="maker/tiny", prompt=text)
    assert raised.value.status_code == 413


def test_the_key_opens_and_nothing_else_does(locked: Path) -> None:
    with plain_client(locked) as http:
        for headers in (
            {},
            {"Authorization": "open sésame".encode()},
            {"Authorization": b"Bearer open"},
            {"Authorization": "Bearer open sésame ".encode() + b"x"},
            {"Authorization": b"Bearer \xff"},
        ):
            for place in ("/v1/models", "/v1/nothing", "/tokenize"):
                error = assert_is_error(http.get(place, headers=headers), 401)
                assert error["code"] == "invalid_api_key"
        right = {"Authorization": "Bearer open sésame".encode()}
        assert http.get("/v1/models", headers=right).status_code == 200
        assert http.get("/v1/models", headers={"Authorization": "bearer open sésame".encode()}).is_success


def test_the_official_client_is_told_that_its_key_is_wrong(locked: Path) -> None:
    with openai_client(locked, key="wrong") as client, pytest.raises(openai.AuthenticationError) as raised:
        client.models.list()
    assert raised.value.code == "invalid_api_key"
    assert "sésame" not in str(raised.value)


def test_health_needs_no_key(locked: Path) -> None:
    with plain_client(locked) as http:
        assert http.get("/health").status_code == 200


def test_keys_are_compared_in_constant_time(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with plain_client(locked) as http:
        http.get("/v1/models", headers={"Authorization": "Bearer guess"})
    assert [(one, len(other)) for one, other in compared] == [(b"guess", len("open sésame".encode()))]


def test_a_mistake_of_ours_is_an_error_without_its_insides(
    path: Path, served: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **settings: Any) -> Any:
        raise RuntimeError("the secret insides")

    monkeypatch.setattr(served.renderer, "tokens", broken)
    with plain_client(path) as http, caplog.at_level(logging.ERROR):
        answer = http.post("/v1/completions", json={"prompt": "x"})
    error = assert_is_error(answer, 500)
    assert error["type"] == "server_error"
    assert "secret" not in error["message"]
    assert "the secret insides" in caplog.text


def test_a_model_that_fails_is_told_and_the_next_request_is_served(
    client: Any, served: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert served.engine is not None
    runner = served.engine.runner
    decode, calls = runner.decode, iter(range(100))

    def failing(handles: Any, tokens: Any) -> Any:
        if next(calls) in (3, 7):
            raise RuntimeError("the matrix is singular")
        return decode(handles, tokens)

    monkeypatch.setattr(runner, "decode", failing)
    settings = {"model": "maker/tiny", "prompt": "the", "max_tokens": 20, "extra_body": {"ignore_eos": True}}
    with pytest.raises(openai.InternalServerError, match="the matrix is singular"):
        client.completions.create(**settings)
    heard = 0
    with pytest.raises(openai.APIError, match="the matrix is singular"):
        for _ in client.completions.create(**settings, stream=True):
            heard += 1
    assert heard > 0
    assert client.completions.create(**settings).choices[0].text
    assert served.engine.load["promised_bytes"] == 0


def test_a_mistake_in_the_middle_of_a_stream_ends_it_with_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from workbench.inference.server import completions

    original = completions._choice

    def broken(index: int, text: str, logprobs: Any, finish_reason: str | None) -> Any:
        if finish_reason is not None:
            raise KeyError("insides")
        return original(index, text, logprobs, finish_reason)

    monkeypatch.setattr(completions, "_choice", broken)
    with plain_client(path) as http:
        asked = {"prompt": "x", "stream": True, "ignore_eos": True, "max_tokens": 5}
        lines = http.post("/v1/completions", json=asked).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    error = json.loads(lines[-3].removeprefix("data: "))["error"]
    assert error["type"] == "server_error"
    assert "insides" not in error["message"]


def test_streams_are_events_that_nobody_keeps(http: Any) -> None:
    answer = http.post("/v1/completions", json={"prompt": "x", "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text.endswith("data: [DONE]\n\n")
