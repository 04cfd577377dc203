from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from served import blank_tokenizer, openai_client, plain_client, service, serving, tiny_llama

from workbench.inference.server.service import Service

TEXT = "the cat and the hat"


@pytest.fixture(scope="module", params=["fused", "dense"])
def served(request: pytest.FixtureRequest) -> Service:
    return service(is_fused=request.param == "fused")


@pytest.fixture(scope="module")
def path(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(served, tmp_path_factory.mktemp("s")) as path:
        yield path


@pytest.fixture
def client(path: Path) -> Iterator[Any]:
    with openai_client(path) as client:
        yield client


def ask(client: Any, prompt: Any = TEXT, **settings: Any) -> Any:
    return client.completions.create(**{"model": "tiny", "prompt": prompt, "seed": 3, **settings})


def expected_logprobs(ids: list[int], rivals: int = 1) -> tuple[list[float], list[list[float]]]:
    """Of all tokens but the first: their log-probabilities, and those of the likeliest."""
    with torch.inference_mode():
        logits = tiny_llama(266)(torch.tensor([ids])).logits[0].float()
    logprobs = logits[:-1].log_softmax(-1)
    chosen = logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return chosen.tolist(), logprobs.topk(rivals).values.tolist()


def test_a_text_is_continued(client: Any) -> None:
    answer = ask(client)
    choice = answer.choices[0]
    assert answer.object == "text_completion"
    assert choice.text
    assert choice.finish_reason == "length"
    assert choice.logprobs is None
    assert answer.usage.completion_tokens == 16


def test_token_ids_are_the_same_as_their_text(client: Any, served: Service) -> None:
    ids = served.renderer.tokens(TEXT, add_special_tokens=True)
    assert ask(client, ids).choices[0].text == ask(client).choices[0].text
    assert ask(client, [ids, ids], max_tokens=3).usage.prompt_tokens == 2 * len(ids)


def test_several_prompts_are_answered_in_their_order(client: Any) -> None:
    prompts = ["the", "cat and", "hat"]
    together = ask(client, prompts, n=2)
    assert [choice.index for choice in together.choices] == list(range(6))
    for place, prompt in enumerate(prompts):
        alone = ask(client, prompt, n=2)
        texts = [choice.text for choice in alone.choices]
        assert [choice.text for choice in together.choices[2 * place : 2 * place + 2]] == texts


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_brings_the_same_as_the_whole(client: Any, echo: bool) -> None:
    settings = {"prompt": ["the", "cat and"], "n": 2, "echo": echo, "logprobs": 2, "max_tokens": 20}
    whole = ask(client, **settings)
    texts = [""] * 4
    tokens: list[list[Any]] = [[], [], [], []]
    reasons: list[str | None] = [None] * 4
    usage = None
    for chunk in ask(client, stream=True, stream_options={"include_usage": True}, **settings):
        usage = chunk.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason
            told = choice.logprobs
            if told is not None:
                tokens[choice.index] += zip(
                    told.tokens, told.token_logprobs, told.text_offset, told.top_logprobs, strict=True
                )
    for choice in whole.choices:
        told = choice.logprobs
        assert texts[choice.index] == choice.text
        assert reasons[choice.index] == choice.finish_reason
        assert tokens[choice.index] == list(
            zip(told.tokens, told.token_logprobs, told.text_offset, told.top_logprobs, strict=True)
        )
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_echo_with_logprobs_scores_the_prompt_as_the_model_does(client: Any, served: Service) -> None:
    answer = ask(client, echo=True, logprobs=1, max_tokens=1, temperature=0)
    choice = answer.choices[0]
    told = choice.logprobs
    ids = served.renderer.tokens(TEXT, add_special_tokens=True)
    chosen, best = expected_logprobs(ids)
    assert choice.text.startswith(TEXT)
    assert len(told.tokens) == len(ids) + 1
    assert told.tokens[: len(ids)] == [served.renderer.tokenizer.decode([token]) for token in ids]
    assert told.token_logprobs[0] is None
    assert told.top_logprobs[0] is None
    assert told.token_logprobs[1:-1] == pytest.approx(chosen, abs=1e-4)
    for rivals, value in zip(told.top_logprobs[1:-1], best, strict=True):
        assert list(rivals.values()) == pytest.approx(value, abs=1e-4)
    for token, offset in zip(told.tokens[:-1], told.text_offset[:-1], strict=True):
        assert choice.text[offset:].startswith(token)


@pytest.mark.parametrize("stream", [False, True])
def test_no_tokens_at_all_can_be_asked_for(client: Any, served: Service, stream: bool) -> None:
    answer = ask(client, echo=True, logprobs=0, max_tokens=0, n=2, stream=stream)
    ids = served.renderer.tokens(TEXT, add_special_tokens=True)
    chosen, _ = expected_logprobs(ids)
    if stream:
        chunks = [chunk.choices[0] for chunk in answer]
        assert [(chunk.index, chunk.text, chunk.finish_reason) for chunk in chunks] == [
            (0, TEXT, None),
            (1, TEXT, None),
            (0, "", "length"),
            (1, "", "length"),
        ]
        told = chunks[0].logprobs
    else:
        assert answer.usage.completion_tokens == 0
        assert [(choice.text, choice.finish_reason) for choice in answer.choices] == [(TEXT, "length")] * 2
        told = answer.choices[0].logprobs
    assert told.token_logprobs[1:] == pytest.approx(chosen, abs=1e-4)


def test_a_prompt_that_fills_the_model_can_be_scored(client: Any, served: Service) -> None:
    ids = [5] * served.max_length
    answer = ask(client, ids, echo=True, logprobs=0, max_tokens=0)
    assert len(answer.choices[0].logprobs.tokens) == served.max_length


def test_echo_without_logprobs_is_the_text_alone(client: Any) -> None:
    plain, echoed = ask(client), ask(client, echo=True)
    assert echoed.choices[0].text == TEXT + plain.choices[0].text
    assert echoed.choices[0].logprobs is None


def test_parts_of_characters_are_told_apart(client: Any) -> None:
    told = ask(client, "é", echo=True, logprobs=20, max_tokens=1).choices[0].logprobs
    assert told.tokens[:2] == ["bytes:\\xc3", "bytes:\\xa9"]
    assert told.text_offset[:3] == [0, 0, 1]
    assert all(len(rivals) == 20 for rivals in told.top_logprobs[1:])


@pytest.mark.parametrize(
    ("settings", "words", "field"),
    [
        ({"suffix": "end"}, "suffix", "suffix"),
        ({"best_of": 3}, "best_of", "best_of"),
        ({"prompt": [5, 266]}, "266 is no token .*0 to 265", "prompt"),
        ({"prompt": [-1]}, "-1 is no token", "prompt"),
        ({"prompt": []}, "nothing in it", "prompt"),
        ({"prompt": ""}, "the prompt is empty", None),
        ({"prompt": [""]}, "the prompt is empty", None),
        ({"prompt": ["the", 5]}, "prompt", None),
        ({"logprobs": 21}, "less than or equal to 20", "logprobs"),
        ({"max_tokens": -1}, "greater than or equal to 0", "max_tokens"),
        ({"n": 0}, "greater than or equal to 1", "n"),
        ({"top_p": 0}, "greater than 0", "top_p"),
        ({"stop": [5]}, "valid string", None),
        ({"logit_bias": {"the": 1}}, "“the” is no token", "logit_bias"),
        ({"logit_bias": {"266": 1}}, "“266” is no token", "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "is no token", "logit_bias"),
        ({"extra_body": {"guided_regex": "x"}}, "use response_format", "guided_regex"),
        ({"extra_body": {"use_beam_search": True}}, "is not supported", "use_beam_search"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    client: Any, settings: dict[str, Any], words: str, field: str | None
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=words) as raised:
            ask(client, stream=stream, **settings)
        if field is not None:
            assert raised.value.param == field


def test_best_of_what_is_returned_is_no_choice(client: Any) -> None:
    assert len(ask(client, n=2, best_of=2).choices) == 2


def test_null_is_as_good_as_not_there(path: Path) -> None:
    nulls = ("n", "stop", "stream", "echo", "temperature", "presence_penalty", "logit_bias", "max_tokens")
    body = {"model": None, "prompt": TEXT, "seed": 3}
    with plain_client(path) as http:
        plain = http.post("/v1/completions", json=body).json()
        nothing = http.post("/v1/completions", json={**body, **dict.fromkeys(nulls)}).json()
    assert nothing["choices"] == plain["choices"]


def test_one_of_several_prompts_that_cannot_fit_refuses_them_all(client: Any, served: Service) -> None:
    with pytest.raises(openai.BadRequestError, match="leave no room"):
        ask(client, ["the", "the " * 3000], max_tokens=50)
    assert served.engine is not None
    assert ask(client).choices[0].text
    assert served.engine.load["running"] == 0


def test_the_blank_between_the_prompt_and_the_answer_is_kept(tmp_path: Path) -> None:
    tokenizer = blank_tokenizer()
    word, letter = tokenizer.convert_tokens_to_ids(["▁t", "b"])
    bias = {str(word): 100, str(letter): 99}
    served = service(tokenizer=tokenizer)
    with serving(served, tmp_path) as path, openai_client(path) as client:
        settings = {"temperature": 0, "max_tokens": 3, "logit_bias": bias, "logprobs": 1}
        whole = ask(client, "a cat", **settings).choices[0]
        streamed = "".join(chunk.choices[0].text for chunk in ask(client, "a cat", stream=True, **settings))
        echoed = ask(client, "a cat", echo=True, **settings).choices[0]
        answer = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "a"}],
            max_tokens=2,
            temperature=0,
            logit_bias=bias,
        )
    assert whole.text == streamed == " t t t"
    assert whole.logprobs.tokens == [" t"] * 3
    assert whole.logprobs.text_offset == [0, 2, 4]
    assert echoed.text == "a cat t t t"
    assert answer.choices[0].message.content == "t t"
