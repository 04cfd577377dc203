"""Which of llama.cpp's built-in ways to cut a text into words a byte-level tokenizer has.

llama.cpp does not read the expression from a file: it knows some dozens by name (`tokenizer.ggml.pre`). A
name is given only for steps that are exactly those, with the rest of what the name switches on there;
anything else is refused, for a model that reads other tokens than it learnt from fails without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.errors import ModelError

GPT2 = "gpt-2's words"
"""What `ByteLevel` with `use_regex` does (Radford et al. 2019)."""
DIGITS = "every digit alone"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
KNOWN: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    ((DIGITS, GPT2), False): "smollm",
    ((LLAMA3,), True): "llama-bpe",
    ((LLAMA3,), False): "smaug-bpe",
    ((QWEN2,), False): "qwen2",
}
"""By the steps, and whether a word that is in the vocabulary is taken whole, without merges."""


def name_of(tokenizer: Mapping[str, Any], where: str) -> str:
    """The name for the steps in a `tokenizer.json`. Raises `ModelError` where there is none."""
    model = tokenizer["model"]
    steps = tuple(_steps(tokenizer.get("pre_tokenizer"), where))
    whole = bool(model.get("ignore_merges"))
    name = KNOWN.get((steps, whole))
    if name is None:
        known = ", ".join(sorted(KNOWN.values()))
        raise _unknown(f"it cuts texts into words by {' then '.join(steps) or 'no rule'}", known, where)
    return name


def _steps(found: Mapping[str, Any] | None, where: str) -> list[str]:
    """The steps in words or as expressions; turning characters into bytes is not one."""
    if found is None:
        return []
    kind = found["type"]
    if kind == "Sequence":
        return [step for inner in found["pretokenizers"] for step in _steps(inner, where)]
    if kind == "ByteLevel":
        if found.get("add_prefix_space"):
            raise _unknown("it puts a blank before each text", "none that does so", where)
        return [GPT2] if found.get("use_regex", True) else []
    if kind == "Digits" and found.get("individual_digits"):
        return [DIGITS]
    pattern = found.get("pattern", {})
    if kind == "Split" and found.get("behavior") == "Isolated" and not found.get("invert"):
        return [str(pattern.get("Regex", pattern))]
    return [kind]


def _unknown(what: str, known: str, where: str) -> ModelError:
    return ModelError(
        f"llama.cpp does not know this tokenizer: {what}",
        where=where,
        hint=f"what it knows and is checked here: {known}; --format safetensors takes every tokenizer",
    )
