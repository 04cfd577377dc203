"""A served reward model: answers to text and to messages get scores, and what cannot is said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ranked_answers import chat_tokenizer, scorer
from served import plain_client, serving

from workbench.errors import ServerError
from workbench.inference.client import Client
from workbench.inference.engine.encoder import Encoder
from workbench.inference.loading.load import load_for_inference
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service
from workbench.inference.servers import Server
from workbench.models.reward_head import pad_with
from workbench.training.checkpoint import save_model

ANSWERS = ["two", "nine nine", "three"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("m")
    tokenizer = chat_tokenizer()
    model = scorer(tokenizer)
    pad_with(model, tokenizer, tokenizer.convert_tokens_to_ids("<|im_start|>"))
    save_model(folder, model, tokenizer)
    loaded = load_for_inference(str(folder), dtype="fp32", device="cpu")
    assert (loaded.kind, loaded.head) == ("encoder", "reward")
    service = Service("judge", Renderer(loaded.tokenizer), loaded.max_length, encoder=Encoder(loaded))
    with serving(service, tmp_path_factory.mktemp("s")) as path:
        yield path


def test_text_and_messages_get_the_same_scores(path: Path) -> None:
    with plain_client(path) as http:
        bodies: list[dict[str, Any]] = [
            {"prompt": "say one", "completions": ANSWERS},
            {"messages": [{"role": "user", "content": "say one"}], "completions": ANSWERS},
            {"text_1": "say one", "text_2": ANSWERS},
        ]
        told = [http.post("/v1/score", json=body).json()["data"] for body in bodies]
        assert [entry["index"] for entry in told[0]] == [0, 1, 2] and told[0][0]["object"] == "score"
        assert len({entry["score"] for entry in told[0]}) == 3
        assert told[1] == told[0] == told[2]
        one = http.post("/score", json={"prompt": "say one", "completions": ANSWERS[1:2]}).json()["data"]
        assert one[0]["score"] == pytest.approx(told[0][1]["score"], abs=1e-5)


def test_what_cannot_be_scored_is_refused_in_words(path: Path) -> None:
    with plain_client(path) as http:
        asked = [{"role": "user", "content": "x"}]
        for place, body, words, param in (
            ("score", {"completions": ["a"]}, "give a prompt", "prompt"),
            ("score", {"prompt": "a"}, "give a prompt", "completions"),
            ("score", {"prompt": "a", "completions": []}, "give a prompt", "completions"),
            ("score", {"prompt": "a", "completions": ["b", " "]}, "answer 2 is blank", "completions"),
            ("score", {"prompt": "a", "completions": ["b" * 5000]}, "longer than the", "completions"),
            ("score", {"prompt": "a", "completions": [asked]}, "not with what the assistant", "completions"),
            ("score", {"messages": [{"role": "me"}], "completions": ["b"]}, "“me”", "completions"),
            (
                "score",
                {"messages": [{**asked[0], "tool_calls": 3}], "completions": ["b"]},
                "tool_calls",
                None,
            ),
            ("classify", {"input": "a"}, "judge has no head for this (it scores answers", "model"),
            ("fill-mask", {"input": "a"}, "judge has no head for this (it scores answers", "model"),
            ("completions", {"prompt": "a"}, "/v1/score", None),
        ):
            answer = http.post(f"/v1/{place}", json=body)
            error = answer.json()["error"]
            assert answer.status_code == 400 and words in error["message"], error
            assert error["type"] == "invalid_request_error" and param in (None, error["param"])
        body = {"model": "other", "prompt": "a", "completions": ["b"]}
        answer = http.post("/v1/score", json=body)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"


def test_the_client_asks_for_scores(path: Path) -> None:
    async def ask() -> list[float]:
        async with Client(Server("judge", socket=path)) as client:
            model = await client.model()
            scores = await model.score("say one", ANSWERS)
            with pytest.raises(ServerError, match="blank"):
                await model.score([{"role": "user", "content": "say one"}], [""])
            return scores

    assert len(asyncio.run(ask())) == 3
