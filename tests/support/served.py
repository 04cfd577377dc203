"""A small model behind the server, in this process, on a socket: what clients can be tried on."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from decoders import tiny_decoder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench.inference.engine.engine import Engine
from workbench.inference.engine.fused_weights import fuse
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.limits import Limits
from workbench.inference.server.app import make_app
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = (
    "{% if tools %}<|im_start|>system\nTools:{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}"
    "<|im_end|>\n{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}{% for call in message.tool_calls %}\n<tool_call>\n"
    "{{ call.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """All bytes, and some pieces of English; `<|im_end|>` ends an answer."""
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
    tokenizer.chat_template = template
    return tokenizer


def service(template: str | None = CHATML, *, seed: int = 0, **limits: int) -> Service:
    """A random Llama of some 100 kB with the tokenizer above, ready to be started."""
    tokenizer = byte_tokenizer(template)
    model = tiny_decoder(
        "llama",
        seed=seed,
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
    )
    with torch.inference_mode():
        runner = PagedRunner(fuse(model, 1024))
    eos = frozenset({int(tokenizer.eos_token_id)})
    engine = Engine(runner, tokenizer, eos, Limits(**limits))
    return Service("tiny", Renderer(tokenizer), runner.max_length, engine=engine)


@contextmanager
def serving(served: Service, folder: Path, key: str | None = None) -> Iterator[Path]:
    """The path of a socket at which the service is served; all is closed at the end."""
    path = folder / "s.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    config = uvicorn.Config(
        make_app(served, key), log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    if served.engine is not None:
        served.engine.start()
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield path
    finally:
        server.should_exit = True
        thread.join(20)
        if served.engine is not None:
            served.engine.close()


def openai_client(path: Path, key: str = "none") -> Any:
    """The official client, talking through the socket."""
    import httpx2
    from openai import OpenAI

    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)))
    return OpenAI(base_url="http://tiny/v1", api_key=key, http_client=http, max_retries=0)
