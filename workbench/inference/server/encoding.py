"""What is not writing: embeddings, masked tokens, labels, scores of answers, and tokens themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from workbench.data.records.preferences import comparison
from workbench.data.records.reading import Record
from workbench.errors import DataError
from workbench.inference.engine.encoder import NoSuchHead
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.answers import new_id, now
from workbench.inference.server.completions import check_tokens, prompts_of
from workbench.inference.server.protocol import (
    DetokenizeRequest,
    EmbeddingRequest,
    ScoreRequest,
    TextsRequest,
    TokenizeRequest,
)
from workbench.inference.server.rendering import Rendered
from workbench.inference.server.service import Service
from workbench.inference.server.soft_prompts import ready


def embeddings(asked: EmbeddingRequest, service: Service) -> dict[str, Any]:
    """`POST /v1/embeddings`. Raises `RequestRefused`."""
    if service.encoder is None:
        raise RequestRefused(f"{service.name} gives no embeddings", hint="serve an encoder")
    tokenizer = service.renderer.tokenizer
    texts = [
        entry if isinstance(entry, str) else tokenizer.decode(entry, skip_special_tokens=True)
        for entry in prompts_of(asked.input, service, "input")
    ]
    vectors = np.asarray(service.encoder.embed(texts), dtype=np.float32)
    if asked.dimensions is not None:
        if not 0 < asked.dimensions <= vectors.shape[1]:
            raise RequestRefused(
                f"the vectors have {vectors.shape[1]} dimensions, not {asked.dimensions}", where="dimensions"
            )
        vectors = vectors[:, : asked.dimensions]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    count = sum(len(service.renderer.tokens(text, add_special_tokens=True)) for text in texts)
    return {
        "object": "list",
        "model": service.name,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _encoded(vector: np.ndarray, form: str) -> Any:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


def fill_mask(asked: TextsRequest, service: Service) -> dict[str, Any]:
    """`POST /v1/fill-mask`: for each mask in each text, the likeliest tokens. Raises `RequestRefused`."""
    encoder = _encoder(service)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    with _refusing(service, "input"):
        return _listed("fill_mask", encoder.fill_mask(texts, asked.top_k), service)


def classify(asked: TextsRequest, service: Service) -> dict[str, Any]:
    """`POST /v1/classify`: labels of texts, or of the words in them. Raises `RequestRefused`."""
    encoder = _encoder(service)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    with _refusing(service, "input"):
        return _listed("classification", encoder.classify(texts), service)


def score(asked: ScoreRequest, service: Service) -> dict[str, Any]:
    """`POST /v1/score`: what a reward model says of each answer to a prompt. Raises `RequestRefused`."""
    encoder = _encoder(service)
    given = [value for value in (asked.messages, asked.prompt, asked.text_1) if value is not None]
    answers = asked.completions if asked.completions is not None else asked.text_2
    if len(given) != 1 or not answers:
        raise RequestRefused(
            "give a prompt, or messages, and its completions", where="prompt" if answers else "completions"
        )
    values = {
        "prompt": given[0],
        "completions": [answers] if isinstance(answers, str) else answers,
        "tools": asked.tools,
    }
    with _refusing(service, "completions"):
        scores = encoder.score(comparison(Record(values, ""), labelled=False))
    data = [{"object": "score", "index": index, "score": value} for index, value in enumerate(scores)]
    return {"id": new_id("score"), "object": "list", "created": now(), "model": service.name, "data": data}


def _encoder(service: Service) -> Any:
    if service.encoder is None:
        raise RequestRefused(f"{service.name} is no encoder", hint="serve a model with such a head")
    return service.encoder


@contextmanager
def _refusing(service: Service, field: str) -> Iterator[None]:
    """What is wrong with a request's data, or its choice of a model, is the client's to mend."""
    try:
        yield
    except NoSuchHead as error:
        raise RequestRefused(f"{service.name} has no head for this", where="model", hint=error.hint) from None
    except DataError as error:
        raise RequestRefused(error.message, where=field, hint=error.hint) from None


def _listed(kind: str, results: list[Any], service: Service) -> dict[str, Any]:
    data = [{"object": kind, "index": index, "results": result} for index, result in enumerate(results)]
    return {"id": new_id(kind), "object": "list", "created": now(), "model": service.name, "data": data}


def tokenize(asked: TokenizeRequest, service: Service) -> dict[str, Any]:
    """`POST /tokenize`: the exact tokens that the model would see, and, with `return_token_strs`, which of
    them are special."""
    renderer = service.renderer
    if (asked.prompt is None) == (asked.messages is None):
        raise RequestRefused("give either a prompt or messages", where="prompt")
    if asked.messages is not None:
        rendered = renderer.chat(
            asked.messages,
            [tool.model_dump(exclude_none=True) for tool in asked.tools or []],
            add_generation_prompt=asked.add_generation_prompt,
            continue_final_message=asked.continue_final_message,
            options=asked.chat_template_kwargs,
        )
    else:
        text = asked.prompt or ""
        rendered = Rendered(text, renderer.tokens(text, add_special_tokens=asked.add_special_tokens))
    ids = rendered.ids
    answer: dict[str, Any] = {"count": len(ids), "max_model_len": service.max_length, "tokens": ids}
    notes = list(rendered.notes)
    soft_prompt = service.chosen(asked.model, asked.soft_prompt)
    if soft_prompt is not None:
        length = ready(soft_prompt, service).prefix.length
        answer["max_model_len"] -= length
        notes.append(f"the {length:,} virtual tokens of the soft prompt {soft_prompt} stand before these")
    if asked.return_token_strs:
        special = frozenset(renderer.special_tokens.values())
        answer["token_strs"] = [
            renderer.tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in ids
        ]
        answer["special"] = [token in special for token in ids]
        answer["text"] = rendered.text
    if notes:
        answer["notes"] = notes
    return answer


def detokenize(asked: DetokenizeRequest, service: Service) -> dict[str, Any]:
    """`POST /detokenize`. Raises `RequestRefused`."""
    check_tokens(asked.tokens, service, "tokens")
    return {"prompt": service.renderer.tokenizer.decode(asked.tokens, clean_up_tokenization_spaces=False)}
