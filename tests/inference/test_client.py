from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_templates import CHATML, HERMES
from served import byte_tokenizer, openai_client, service, serving, slow_down, until

from workbench.errors import ServerError
from workbench.inference.client import Client, RemoteModel
from workbench.inference.generation import Completion, Delta, Message, Request, Sampling
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service
from workbench.inference.servers import Server

HI: tuple[Message, ...] = ({"role": "user", "content": "hi the and"},)
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "maximum": 9}},
            "required": ["a"],
        },
    },
}


@pytest.fixture(scope="module")
def served() -> Service:
    return service(HERMES)


@pytest.fixture(scope="module")
def path(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(served, tmp_path_factory.mktemp("s")) as path:
        yield path


@pytest.fixture
async def model(path: Path) -> AsyncIterator[RemoteModel]:
    async with Client(Server("here", socket=path)) as client:
        yield await client.model()


def chat(**settings: Any) -> Request:
    sampling = Sampling(max_tokens=settings.pop("max_tokens", 20), seed=settings.pop("seed", 5))
    return Request(messages=HI, sampling=sampling, **settings)


async def test_the_one_model_there_is_need_not_be_named(path: Path, served: Service) -> None:
    async with Client(Server("here", socket=path)) as client:
        (listed,) = await client.models()
        assert (listed.name, listed.server, listed.max_length) == ("tiny", "here", served.max_length)
        assert (await client.model()).name == "tiny"
        assert (await client.model("other")).name == "other"


async def test_an_answer_is_what_the_official_client_gets(model: RemoteModel, path: Path) -> None:
    answer = await model.generate(chat(n=2))
    with openai_client(path) as official:
        expected = official.chat.completions.create(
            model="tiny", messages=list(HI), max_tokens=20, seed=5, n=2
        )
    assert [one.text for one in answer.completions] == [choice.message.content for choice in expected.choices]
    assert [one.finish_reason for one in answer.completions] == ["length", "length"]
    assert answer.usage.completion_tokens == 40
    assert answer.usage.prompt_tokens == expected.usage.prompt_tokens
    assert answer.model == "tiny"
    assert answer.notes == ()
    assert answer.first_token_seconds is not None
    assert 0 < answer.first_token_seconds <= answer.seconds


async def test_pieces_add_up_to_the_answer(model: RemoteModel) -> None:
    heard: list[Delta] = []
    answer = await model.generate(chat(n=2, logprobs=1), heard.append)
    for index, one in enumerate(answer.completions):
        pieces = [delta for delta in heard if delta.index == index]
        assert "".join(delta.text for delta in pieces) == one.text
        assert [token for delta in pieces for token in delta.logprobs] == one.logprobs
        assert pieces[-1].finish_reason == one.finish_reason


async def test_a_plain_text_is_continued(model: RemoteModel) -> None:
    request = Request(prompt="the cat", sampling=Sampling(max_tokens=8, seed=1, stop=("zz",)))
    assert (await model.generate(request)).text == (await model.generate(request)).text != ""


@pytest.mark.parametrize("is_chat", [True, False])
async def test_log_probabilities_come_with_their_rivals(model: RemoteModel, is_chat: bool) -> None:
    base = chat() if is_chat else Request(prompt="the", sampling=Sampling(max_tokens=20, seed=5))
    one = (await model.generate(replace(base, logprobs=3))).completions[0]
    assert len(one.logprobs) == 20
    assert all(token.logprob < 0 and len(token.top) == 3 for token in one.logprobs)
    assert all(token.top[0][1] >= token.logprob - 1e-5 for token in one.logprobs)
    assert one.total_logprob == pytest.approx(sum(token.logprob for token in one.logprobs))
    written = b"".join(token.bytes for token in one.logprobs)
    assert written.decode(errors="replace").count("\ufffd") <= one.text.count("\ufffd")
    chosen_alone = (await model.generate(replace(base, logprobs=0))).completions[0]
    assert [token.logprob for token in chosen_alone.logprobs] == [token.logprob for token in one.logprobs]
    assert all(token.top == () for token in chosen_alone.logprobs)


async def test_calls_of_tools_are_put_together(model: RemoteModel) -> None:
    request = chat(tools=(ADD,), tool_choice="required", max_tokens=300, n=3)
    answer = await model.generate(request)
    done = [one for one in answer.completions if one.finish_reason == "tool_calls"]
    assert done
    for one in done:
        assert one.text == ""
        for call in one.tool_calls:
            assert call.name == "add"
            assert json.loads(call.arguments)["a"] <= 9
    results: list[Message] = [
        {"role": "tool", "tool_call_id": call.id, "content": "3"} for call in done[0].tool_calls
    ]
    messages = (*HI, done[0].as_message(), *results)
    following = Request(messages=messages, tools=(ADD,), sampling=Sampling(max_tokens=3))
    assert (await model.generate(following)).usage.completion_tokens <= 3


@pytest.mark.parametrize("is_chat", [True, False])
async def test_an_answer_fits_the_format(model: RemoteModel, is_chat: bool) -> None:
    wanted = {"type": "regex", "regex": "[ab]{4}"}
    sampling = Sampling(max_tokens=20)
    request = (
        Request(messages=HI, sampling=sampling, response_format=wanted)
        if is_chat
        else Request(prompt="x", sampling=sampling, response_format=wanted)
    )
    text = (await model.generate(request)).text
    assert len(text) == 4
    assert set(text) <= set("ab")


async def test_every_setting_reaches_the_engine(model: RemoteModel) -> None:
    sampling = Sampling(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=1,
        min_p=0.1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        repetition_penalty=1.0,
        stop=("never",),
    )
    texts = {(await model.generate(Request(messages=HI, sampling=sampling))).text for _ in range(3)}
    assert len(texts) == 1


async def test_cancelling_the_task_frees_the_slot(tmp_path: Path) -> None:
    served = service()
    slow_down(served, 0.01)
    assert served.engine is not None
    engine = served.engine
    with serving(served, tmp_path) as path:
        async with Client(Server("here", socket=path)) as client:
            heard = asyncio.Event()
            request = Request(prompt="the", n=2, sampling=Sampling(max_tokens=1500))
            model = await client.model()
            task = asyncio.create_task(model.generate(request, lambda delta: heard.set()))
            await heard.wait()
            before = engine.counters.steps
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: engine.load["promised_bytes"] == 0)
            assert engine.counters.steps - before < 50
            assert engine.counters.cancelled == 1
            assert (await model.generate(Request(prompt="x", sampling=Sampling(max_tokens=2)))).text


async def test_an_error_in_whoever_listens_is_theirs_and_ends_the_request(
    model: RemoteModel, served: Service
) -> None:
    def listener(delta: Delta) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await model.generate(chat(max_tokens=1000), listener)
    assert served.engine is not None
    engine = served.engine
    await asyncio.to_thread(until, lambda: engine.load["running"] == 0)


async def test_the_tokens_that_the_model_will_see(model: RemoteModel, served: Service) -> None:
    pairs = [(token.id, token.text) for token in (await model.tokens(chat())).tokens]
    assert "".join(text for _, text in pairs).startswith("<|im_start|>user\nhi the and")
    assert pairs[0][0] == served.renderer.special_tokens["<|im_start|>"]
    with_tools = (await model.tokens(chat(tools=(ADD,)))).tokens
    assert len(with_tools) > len(pairs)
    found = (await model.tokens(Request(prompt="the x<|im_end|>"))).tokens
    assert [(token.text, token.special) for token in found] == [
        ("the", False),
        (" ", False),
        ("x", False),
        ("<|im_end|>", True),
    ]


async def test_texts_become_vectors(tmp_path: Path) -> None:
    class Encoder:
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[len(text), 0.5] for text in texts], dtype=np.float32)

    encoder = Service("e", Renderer(byte_tokenizer(None)), 64, encoder=Encoder())
    with serving(encoder, tmp_path) as path:
        async with Client(Server("here", socket=path)) as client:
            model = await client.model()
            assert await model.embed(["a", "bcd"]) == [[1, 0.5], [3, 0.5]]
            with pytest.raises(ServerError, match="does not write text"):
                await model.generate(Request(prompt="x"))


async def test_many_requests_run_side_by_side(model: RemoteModel) -> None:
    answers = await asyncio.gather(*(model.generate(chat(seed=seed)) for seed in range(12)))
    again = await model.generate(chat(seed=3))
    assert again.text == answers[3].text
    assert len({answer.text for answer in answers}) == 12


def test_an_answer_becomes_a_message() -> None:
    assert Completion(text="x").as_message() == {"role": "assistant", "content": "x"}


async def test_what_a_server_notes_of_a_request_is_told(tmp_path: Path) -> None:
    peeking = CHATML.replace("message['content']", "message['content'].split('<|im_end|>')[0]")
    with serving(service(peeking), tmp_path) as path:
        spelt: tuple[Message, ...] = ({"role": "user", "content": "hi<|im_end|> you"},)
        async with Client(Server("here", socket=path)) as client:
            request = replace(chat(n=2, max_tokens=2), messages=spelt)
            answer = await RemoteModel(client, "tiny").generate(request)
        with openai_client(path) as official:
            whole = official.chat.completions.create(model="tiny", messages=list(spelt), max_tokens=2)
    (note,) = answer.notes
    assert note.startswith("<|im_end|> in the messages may be read as special tokens")
    assert whole.model_extra["notes"] == [note]
