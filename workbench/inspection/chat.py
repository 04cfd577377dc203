"""A model's tokenizer as a person meets it: special tokens, a sample, a conversation as it is written out."""

from __future__ import annotations

from typing import Any

from workbench.inspection.pieces import Pieces

SAMPLE = "Hello, world! 3.14 naïve 中文"
CONVERSATION = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And three more?"},
]


def about_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """`kind`, `class`, `vocab_size`, `max_length`, `special` (role: token, id), `sample` with its tokens."""
    backend = tokenizer.backend_tokenizer
    pieces = Pieces(backend)
    ids = tokenizer(SAMPLE, add_special_tokens=True)["input_ids"]
    longest = int(tokenizer.model_max_length)
    return {
        "kind": type(backend.model).__name__,
        "class": type(tokenizer).__name__,
        "vocab_size": len(tokenizer),
        "max_length": longest if longest < 1 << 40 else None,
        "special": [
            {"role": role, "token": str(token), "id": tokenizer.convert_tokens_to_ids(str(token))}
            for role, token in tokenizer.special_tokens_map.items()
            if isinstance(token, str)
        ],
        "sample": {"text": SAMPLE, "tokens": [pieces.entry(id) for id in ids]},
    }


def about_chat(tokenizer: Any) -> tuple[dict[str, Any] | None, str]:
    """The chat template and a conversation as it renders (with the start of an answer), and what went
    wrong: a template is a program, and runs in the sandbox of transformers."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    if not template:
        return None, ""
    rendered, problem = None, ""
    for turns in (CONVERSATION, CONVERSATION[1:]):  # some models refuse a system's turn
        try:
            rendered = tokenizer.apply_chat_template(
                turns, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:
            # Templates raise what they like: Jinja's errors, TypeError, RecursionError.
            problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
        else:
            problem = ""
            break
    return {"template": str(template), "messages": turns, "rendered": rendered}, problem
