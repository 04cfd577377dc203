from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from chat_templates import CHATML
from served import byte_tokenizer, openai_client, plain_client, service, serving, tiny_llama

from workbench.inference.server import chat
from workbench.inference.server.protocol import ChatRequest, parse
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service

PICKY = (
    "{% for message in messages %}{% if message['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('only system, user and assistant\nhave a place here') }}{% endif %}"
    "{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
)
HI = [{"role": "user", "content": "hi the and"}]


@pytest.fixture(scope="module")
def served() -> Service:
    return service()


@pytest.fixture(scope="module")
def path(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(served, tmp_path_factory.mktemp("s")) as path:
        yield path


@pytest.fixture
def client(path: Path) -> Iterator[Any]:
    with openai_client(path) as client:
        yield client


def ask(client: Any, messages: Any = HI, **settings: Any) -> Any:
    return client.chat.completions.create(**{"model": "tiny", "messages": messages, "seed": 7, **settings})


def seen(path: Path, messages: Any, **settings: Any) -> str:
    """What the model sees of a conversation."""
    with plain_client(path) as http:
        body = {"messages": messages, "return_token_strs": True, **settings}
        return str(http.post("/tokenize", json=body).json()["text"])


def test_a_chat_is_answered(client: Any) -> None:
    answer = ask(client, max_tokens=12)
    choice = answer.choices[0]
    assert answer.object == "chat.completion"
    assert answer.model == "tiny"
    assert answer.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_a_stream_brings_the_same_texts_as_the_whole_answer(client: Any) -> None:
    whole = ask(client, max_tokens=60, n=3)
    texts, reasons = ["", "", ""], [[], [], []]  # type: ignore[var-annotated]
    for chunk in ask(client, max_tokens=60, n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index].append(choice.finish_reason)
    assert texts == [choice.message.content for choice in whole.choices]
    for one, choice in zip(reasons, whole.choices, strict=True):
        assert [reason for reason in one if reason] == [choice.finish_reason]
        assert one[-1] is not None


def test_an_answer_ends_with_the_text_that_ends_a_turn_where_that_is_no_token(served: Service) -> None:
    def stops(template: str, **settings: Any) -> tuple[str, ...]:
        renderer = Renderer(byte_tokenizer(template))
        body = {"messages": HI, **settings}
        return chat.plan(parse(ChatRequest, body), replace(served, renderer=renderer)).request.params.stop

    assert stops(CHATML, stop="x") == ("x",)
    foreign = CHATML.replace("<|im_end|>", "<|eot|>")
    assert stops(foreign) == ("<|eot|>",) and stops(foreign, stop=["x"]) == ("x", "<|eot|>")
    assert stops(foreign, ignore_eos=True) == ()


def test_samples_differ_and_are_the_same_again_under_one_seed(client: Any) -> None:
    first, again = (
        [choice.message.content for choice in ask(client, max_tokens=20, n=4).choices] for _ in range(2)
    )
    other = ask(client, max_tokens=20, n=4, seed=8)
    assert first == again
    assert len(set(first)) == 4
    assert other.choices[0].message.content != first[0]


def test_temperature_zero_takes_the_likeliest(client: Any) -> None:
    a = ask(client, max_tokens=20, temperature=0, seed=1)
    b = ask(client, max_tokens=20, temperature=0, seed=2)
    assert a.choices[0].message.content == b.choices[0].message.content


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_answer_wherever_the_tokens_are_cut(
    client: Any, length: int, stream: bool
) -> None:
    text = ask(client, max_tokens=40).choices[0].message.content
    place = next(at for at in range(8, 30) if text.find(text[at : at + length]) == at)
    stop = text[place : place + length]
    answer = ask(client, max_tokens=40, stop=["never in it", stop], stream=stream)
    if stream:
        chunks = [chunk.choices[0] for chunk in answer]
        got = "".join(chunk.delta.content or "" for chunk in chunks)
        reason = chunks[-1].finish_reason
    else:
        got, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert got == text[:place]
    assert reason == "stop"


def test_the_stop_string_is_left_in_where_that_is_asked_for(client: Any) -> None:
    text = ask(client, max_tokens=40).choices[0].message.content
    extra = {"include_stop_str_in_output": True}
    answer = ask(client, max_tokens=40, stop=text[10:12], extra_body=extra)
    assert answer.choices[0].message.content.endswith(text[10:12])


def test_the_end_token_ends_the_answer_with_stop(client: Any, served: Service) -> None:
    end = served.renderer.tokenizer.eos_token_id
    answer = ask(client, max_tokens=40, logit_bias={str(end): 100})
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == ""
    assert answer.usage.completion_tokens == 1


def test_logprobs_are_the_log_softmax_of_the_models_own_logits(
    client: Any, served: Service, path: Path
) -> None:
    tokenizer = served.renderer.tokenizer
    model = tiny_llama(len(tokenizer))
    answer = ask(client, max_tokens=24, logprobs=True, top_logprobs=3)
    told = answer.choices[0].logprobs.content
    assert len(told) == 24
    ids = served.renderer.tokens(seen(path, HI), add_special_tokens=False)
    by_bytes = {_bytes_of(tokenizer, token): token for token in range(len(tokenizer))}
    for entry in told:
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        token = by_bytes[bytes(entry.bytes)]
        assert entry.logprob == pytest.approx(float(expected[token]), abs=1e-4)
        values, best = expected.topk(3)
        assert [rival.logprob for rival in entry.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert [by_bytes[bytes(rival.bytes)] for rival in entry.top_logprobs] == best.tolist()
        ids.append(token)


def _bytes_of(tokenizer: Any, token: int) -> bytes:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    back = {char: byte for byte, char in bytes_to_unicode().items()}
    return bytes(back[char] for char in tokenizer.convert_ids_to_tokens(token))


def test_streamed_logprobs_cover_every_token_once(client: Any) -> None:
    whole = ask(client, max_tokens=30, logprobs=True, stop=["zq"])
    streamed = [
        entry.logprob
        for chunk in ask(client, max_tokens=30, logprobs=True, stop=["zq"], stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for entry in choice.logprobs.content
    ]
    assert streamed == [entry.logprob for entry in whole.choices[0].logprobs.content]


def test_max_completion_tokens_goes_before_max_tokens(client: Any) -> None:
    answer = ask(client, max_completion_tokens=5, max_tokens=9)
    assert answer.usage.completion_tokens == 5


def test_usage_counts_what_was_found_in_the_cache(client: Any) -> None:
    long = [{"role": "user", "content": "and the rest of it " * 20}]
    ask(client, long, max_tokens=1)
    usage = ask(client, long, max_tokens=1).usage
    cached = usage.prompt_tokens_details.cached_tokens
    assert 0 < cached < usage.prompt_tokens


def test_usage_comes_at_the_end_of_a_stream_only_when_it_is_asked_for(client: Any) -> None:
    plain = list(ask(client, max_tokens=4, stream=True))
    told = list(ask(client, max_tokens=4, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)
    assert [chunk.usage for chunk in told[:-1]] == [None] * (len(told) - 1)
    assert told[-1].choices == []
    assert told[-1].usage.completion_tokens == 4


def test_the_last_message_can_be_continued(client: Any, path: Path) -> None:
    messages = [*HI, {"role": "assistant", "content": "It is"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    assert seen(path, messages, **extra).endswith("<|im_start|>assistant\nIt is")
    answer = ask(client, messages, max_tokens=6, extra_body=extra)
    prompt = seen(path, messages, **extra)
    plain = client.completions.create(model="tiny", prompt=prompt, max_tokens=6, seed=7)
    assert answer.choices[0].message.content == plain.choices[0].text


def test_only_an_assistants_message_can_be_continued(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="only an assistant's message") as raised:
        ask(client, extra_body={"continue_final_message": True})
    assert raised.value.param == "continue_final_message"


def test_system_and_developer_are_one_role(path: Path) -> None:
    texts = [seen(path, [{"role": role, "content": "Be brief."}, *HI]) for role in ("system", "developer")]
    assert texts[0] == texts[1]
    assert texts[0].startswith("<|im_start|>system\nBe brief.<|im_end|>")


def test_content_may_be_a_list_of_texts(path: Path) -> None:
    parts = [{"type": "text", "text": "hi the"}, {"type": "text", "text": " and"}]
    assert seen(path, [{"role": "user", "content": parts}]) == seen(path, HI)


@pytest.mark.parametrize(
    ("message", "words", "field"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
            "“image_url” is not text",
            "messages.0.content",
        ),
        ({"role": "user", "content": [{"type": "text"}]}, "no text", "messages.0.content"),
        ({"role": "user", "content": 5}, "neither a text nor a list", "messages.0.content"),
        ({"content": "hi"}, "no role", "messages.0.role"),
        ({"role": "assistant", "tool_calls": "x"}, "not a list", "messages.0.tool_calls"),
        ({"role": "assistant", "tool_calls": [5]}, "no function", "messages.0.tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"function": "f"}]},
            "no function with a name",
            "messages.0.tool_calls",
        ),
    ],
)
def test_a_message_that_cannot_be_read_is_named(client: Any, message: Any, words: str, field: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as raised:
        ask(client, [message])
    assert raised.value.param == field


def test_a_template_that_refuses_is_heard_in_its_own_words(tmp_path: Path) -> None:
    with (
        serving(service(PICKY), tmp_path) as path,
        openai_client(path) as client,
        pytest.raises(openai.BadRequestError, match="only system, user and assistant") as raised,
    ):
        ask(client, [{"role": "narrator", "content": "Once"}])
    assert raised.value.param == "messages"
    assert "\n" not in raised.value.message


def test_a_model_without_a_template_says_what_it_can_do(tmp_path: Path) -> None:
    with (
        serving(service(None), tmp_path) as path,
        openai_client(path) as client,
        pytest.raises(openai.BadRequestError, match="no chat template.*/v1/completions"),
    ):
        ask(client)


def test_a_client_cannot_bring_a_template(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be sent along"):
        ask(client, extra_body={"chat_template_kwargs": {"chat_template": "{{ 1 }}"}})


def test_the_models_own_defaults_hold_where_the_client_says_nothing(tmp_path: Path) -> None:
    served = service()
    served.defaults = {"temperature": 0.0}
    with serving(served, tmp_path) as path, openai_client(path) as client:
        texts = {ask(client, max_tokens=8, seed=seed).choices[0].message.content for seed in range(3)}
        warm = {
            ask(client, max_tokens=8, seed=seed, temperature=1).choices[0].message.content
            for seed in range(3)
        }
    assert len(texts) == 1
    assert len(warm) == 3


def test_what_cannot_fit_is_refused_with_the_numbers(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match=r"has room for 2,0.* max_tokens is 5,000 .*at most"):
        ask(client, max_tokens=5000)


def test_a_full_queue_asks_to_come_again(tmp_path: Path) -> None:
    with serving(service(max_queue=0), tmp_path) as path, openai_client(path) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            ask(client)
        with pytest.raises(openai.InternalServerError):
            ask(client, stream=True)
    assert raised.value.status_code == 503
    assert raised.value.code == "queue_full"
    assert raised.value.response.headers["retry-after"] == "1"
