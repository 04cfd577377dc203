"""What llama.cpp makes of a GGUF file, for `export_llama_cpp.py`; needs llama-cpp-python, nothing of ours.

    python export_llama_cpp_peer.py < REQUEST

REQUEST is `{"file", "texts": [str], "prompts": [[id]], "new": int, "chats": [[message]]}`; prints
`{"tokens": [[id]], "framed": [[id]], "logits": [[number]], "greedy": [[id]], "metadata", "chats": [str]}`:
the ids of each text without and with what is added to it, the logits behind each prompt, and what is written
greedily after it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

F32 = 0
"""ggml's number for fp32, for the cache of keys and values."""


def main() -> None:
    """Answer the request."""
    asked = json.load(sys.stdin)
    model = Llama(
        asked["file"],
        n_ctx=512,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        verbose=False,
        type_k=F32,
        type_v=F32,
        flash_attn=False,
    )
    texts = [text.encode() for text in asked["texts"]]
    answer: dict[str, Any] = {
        "tokens": [model.tokenize(text, add_bos=False, special=True) for text in texts],
        "framed": [model.tokenize(text, add_bos=True, special=True) for text in texts],
        "logits": [],
        "greedy": [],
        "metadata": model.metadata,
        "chats": [chat(model, messages) for messages in asked.get("chats", [])],
    }
    for prompt in asked["prompts"]:
        model.reset()
        model.eval(prompt)
        answer["logits"].append(np.asarray(model.scores[: len(prompt)], dtype=float)[-1].tolist())
        written = []
        for _ in range(asked["new"]):
            token = int(np.argmax(model.scores[model.n_tokens - 1]))
            written.append(token)
            model.eval([token])
        answer["greedy"].append(written)
    json.dump(answer, sys.stdout)


def chat(model: Any, messages: list[Any]) -> str:
    """A conversation by the template in the file."""
    names = [model.metadata.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "bos")]
    eos, bos = (model._model.token_get_text(int(token)) if token else "" for token in names)
    formatter = Jinja2ChatFormatter(model.metadata["tokenizer.chat_template"], eos, bos)
    return str(formatter(messages=messages).prompt)


if __name__ == "__main__":
    main()
