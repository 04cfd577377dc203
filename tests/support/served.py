"""A small model behind the server, in this process, on a socket: what clients can be tried on."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from chat_templates import CHATML
from decoders import tiny_decoder
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench.inference.engine.dense_runner import dense_runner
from workbench.inference.engine.engine import Engine
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.runner import Runner
from workbench.inference.limits import Limits
from workbench.inference.server.app import make_app
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service
from workbench.models.fused_weights import fuse

MAX_LENGTH = 2048
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_tokenizer(template: str | None = CHATML, special: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """All bytes, some pieces of English, and further special tokens; `<|im_end|>` ends an answer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("e", "r"), ("a", "n"), ("an", "d")]
    words = [*SPECIAL, *alphabet, *(first + second for first, second in merges)]
    inner = Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.add_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.chat_template = template
    return tokenizer


def blank_tokenizer() -> PreTrainedTokenizerFast:
    """In the manner of sentencepiece: a blank belongs to the word after it, other bytes are pieces."""
    words = [
        *SPECIAL,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyz",
        "▁t",
        "▁a",
    ]
    merges = [("▁", "t"), ("▁", "a")]
    vocabulary = {word: place for place, word in enumerate(words)}
    inner = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<|endoftext|>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )


def tiny_llama(vocabulary: int) -> Any:
    """A random Llama of some 100 kB, the same each time."""
    return tiny_decoder(
        "llama",
        vocab_size=vocabulary,
        hidden_size=48,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=MAX_LENGTH,
    )


def service(
    template: str | None = CHATML,
    *,
    special: Sequence[str] = (),
    tokenizer: PreTrainedTokenizerFast | None = None,
    is_fused: bool = True,
    **limits: int,
) -> Service:
    """The model above with a tokenizer, the first one if none is given, ready to be served: with fused
    weights, or by transformers' own forward."""
    tokenizer = tokenizer or byte_tokenizer(template, special)
    model = tiny_llama(len(tokenizer))
    with torch.inference_mode():
        runner: Runner[Any, Any] = (
            PagedRunner(fuse(model, MAX_LENGTH)) if is_fused else dense_runner(model, max_length=MAX_LENGTH)
        )
    eos = frozenset({int(tokenizer.eos_token_id)})
    engine = Engine(runner, tokenizer, eos, Limits(**limits))
    return Service("tiny", Renderer(tokenizer), runner.max_length, engine=engine)


def slow_down(served: Service, seconds: float) -> None:
    """Let every step of a service's engine take longer."""
    assert served.engine is not None
    runner = served.engine.runner
    decode = runner.decode

    def slow(handles: Any, tokens: Any) -> Any:
        time.sleep(seconds)
        return decode(handles, tokens)

    runner.decode = slow  # type: ignore[method-assign]


def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)


@contextmanager
def hosting(app: Any, folder: Path) -> Iterator[Path]:
    """The path of a socket at which an application is served, until the end."""
    path = folder / "s.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        until(lambda: server.started, 20)
        yield path
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@contextmanager
def serving(served: Service, folder: Path, key: str | None = None) -> Iterator[Path]:
    """The path of a socket at which the service is served; all is closed at the end."""
    assert served.engine is not None or served.encoder is not None
    if served.engine is not None:
        served.engine.start()
    try:
        with hosting(make_app(served, key), folder) as path:
            yield path
    finally:
        if served.engine is not None:
            served.engine.close()


@contextmanager
def openai_client(path: Path, key: str = "none") -> Iterator[Any]:
    """The official client, talking through the socket."""
    import httpx2
    from openai import OpenAI

    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=60) as http:
        yield OpenAI(base_url="http://tiny/v1", api_key=key, http_client=http, max_retries=0)


@contextmanager
def plain_client(path: Path) -> Iterator[Any]:
    """A client for requests that the official one would not send."""
    import httpx2

    with httpx2.Client(
        transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://tiny", timeout=60
    ) as http:
        yield http
