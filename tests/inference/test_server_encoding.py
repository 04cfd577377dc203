from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from served import byte_tokenizer, openai_client, plain_client, service, serving

from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service


class Letters:
    """Stands for a trained encoder: what it says of a text follows from its letters."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), text.count("a"), 1.0, 0.5] for text in texts], dtype=np.float32)

    def fill_mask(self, texts: Sequence[str], top_k: int) -> list[Any]:
        return [[[{"token": "the", "score": 0.5}] * top_k] * text.count("[MASK]") for text in texts]

    def classify(self, texts: Sequence[str]) -> list[Any]:
        return [{"label": "long" if len(text) > 3 else "short", "score": 0.9} for text in texts]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    encoder = Service("letters", Renderer(byte_tokenizer(None)), 128, encoder=Letters())
    with serving(encoder, tmp_path_factory.mktemp("s")) as path:
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
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(service(), tmp_path_factory.mktemp("s")) as path:
        yield path


def test_texts_become_vectors(client: Any) -> None:
    answer = client.embeddings.create(model="letters", input=["a", "bab"])
    assert [entry.index for entry in answer.data] == [0, 1]
    assert [entry.embedding for entry in answer.data] == [[1, 1, 1, 0.5], [3, 1, 1, 0.5]]
    assert answer.usage.prompt_tokens == 4


def test_vectors_come_as_numbers_or_as_bytes(http: Any) -> None:
    body = {"input": "abc", "model": "letters"}
    numbers = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    coded = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    there = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), dtype="<f4")
    assert there.tolist() == numbers


def test_vectors_can_be_shortened(client: Any) -> None:
    answer = client.embeddings.create(model="letters", input="aab", dimensions=2)
    assert np.linalg.norm(answer.data[0].embedding) == pytest.approx(1)
    with pytest.raises(openai.BadRequestError, match="4 dimensions, not 5"):
        client.embeddings.create(model="letters", input="aab", dimensions=5)


def test_token_ids_are_read_as_their_text(client: Any, http: Any) -> None:
    ids = http.post("/tokenize", json={"prompt": "abc"}).json()["tokens"]
    for given in (ids, [ids]):
        assert client.embeddings.create(model="letters", input=given).data[0].embedding[0] == 3


@pytest.mark.parametrize("given", [[-1], [[99_999]], [2**70]])
def test_numbers_that_are_no_tokens_are_refused(http: Any, given: Any) -> None:
    answer = http.post("/v1/embeddings", json={"input": given})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("input")


def test_masks_are_filled(http: Any) -> None:
    body = {"input": ["a [MASK] and [MASK]", "none"], "top_k": 3}
    answer = http.post("/v1/fill-mask", json=body).json()
    assert [entry["object"] for entry in answer["data"]] == ["fill_mask"] * 2
    assert [[len(mask) for mask in entry["results"]] for entry in answer["data"]] == [[3, 3], []]


def test_texts_are_classified(http: Any) -> None:
    answer = http.post("/v1/classify", json={"input": "a long text", "model": "letters"}).json()
    assert answer["data"][0]["results"]["label"] == "long"


@pytest.mark.parametrize("place", ["/v1/fill-mask", "/v1/classify", "/v1/embeddings"])
def test_a_model_that_writes_is_no_encoder(writer: Path, place: str) -> None:
    with plain_client(writer) as http:
        answer = http.post(place, json={"input": "x"})
    assert answer.status_code == 400
    assert "encoder" in answer.json()["error"]["message"]


def test_an_encoder_does_not_write(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="does not write text.*/v1/embeddings"):
        client.completions.create(model="letters", prompt="x")
    with pytest.raises(openai.BadRequestError, match="does not write text"):
        client.chat.completions.create(model="letters", messages=[{"role": "user", "content": "x"}])


def test_tokens_there_and_back(http: Any) -> None:
    told = http.post("/tokenize", json={"prompt": "the é", "return_token_strs": True}).json()
    assert told["count"] == len(told["tokens"]) == 4
    assert told["max_model_len"] == 128
    assert told["token_strs"] == ["the", " ", "\ufffd", "\ufffd"]
    assert http.post("/detokenize", json={"tokens": told["tokens"]}).json() == {"prompt": "the é"}


@pytest.mark.parametrize("tokens", [[-1], [266], [2**40]])
def test_what_is_no_token_has_no_text(http: Any, tokens: list[int]) -> None:
    answer = http.post("/detokenize", json={"tokens": tokens})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tokens"


def test_a_chat_is_tokenized_as_the_model_will_see_it(writer: Path) -> None:
    with plain_client(writer) as http, openai_client(writer) as client:
        messages = [{"role": "user", "content": "hi"}]
        told = http.post("/tokenize", json={"messages": messages}).json()
        usage = client.chat.completions.create(model="tiny", messages=messages, max_tokens=1).usage
        neither = http.post("/tokenize", json={})
    assert "token_strs" not in told
    assert told["count"] == usage.prompt_tokens
    assert neither.status_code == 400


def test_special_tokens_are_told_from_what_is_only_spelt_like_them(writer: Path) -> None:
    body = {"messages": [{"role": "user", "content": "a<|im_end|>"}], "return_token_strs": True}
    with plain_client(writer) as http:
        told = http.post("/tokenize", json=body).json()
        raw = http.post("/tokenize", json={"prompt": told["text"], "return_token_strs": True}).json()
    special = [
        text for text, is_special in zip(told["token_strs"], told["special"], strict=True) if is_special
    ]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert "".join(told["token_strs"]) == told["text"] == raw["text"]
    assert "notes" not in told
    assert raw["special"].count(True) == 4, "a prompt is read with the special tokens in it"
