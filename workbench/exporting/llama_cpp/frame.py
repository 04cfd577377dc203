"""Which special tokens a program puts around a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.data import turn_ends
from workbench.errors import ModelError
from workbench.exporting import conversation

TEXT = "a word"


@dataclass
class Frame:
    """Whether the tokens that begin and end texts are added to one."""

    bos: bool
    eos: bool
    notes: list[str] = field(default_factory=list)


def frame_of(tokenizer: Any, where: str) -> Frame:
    """As the tokenizer does it; but where a chat template begins conversations without the first token, it is
    not added, for programs add it to conversations too, and the model has seen none with it.

    Raises `ModelError` for a tokenizer that adds others.
    """
    plain, framed = (list(tokenizer(TEXT, add_special_tokens=flag)["input_ids"]) for flag in (False, True))
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    first = bos is not None and framed[:1] == [bos] and framed[1 : len(plain) + 1] == plain
    last = eos is not None and framed[-1:] == [eos] and len(framed) == first + len(plain) + 1
    if len(framed) != first + len(plain) + last:
        raise ModelError(
            "llama.cpp does not know this tokenizer: it adds more to a text than a first and a last token",
            where=where,
            hint="--format safetensors takes every tokenizer",
        )
    frame = Frame(first, last)
    talks = turn_ends.template_of(tokenizer) is not None
    if first and talks and not conversation.begins_with_bos(tokenizer):
        frame.bos = False
        frame.notes.append(
            f"{tokenizer.bos_token} is not added to texts, for the chat template begins without it"
        )
    if last and talks:
        frame.eos = False
        frame.notes.append(f"{tokenizer.eos_token} is not added to texts, for a question would end with it")
    return frame
