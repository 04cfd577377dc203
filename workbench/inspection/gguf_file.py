"""A GGUF file: its metadata as a configuration, its tensors, its tokenizer through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.inspection.weights import of_gguf, open_gguf

if TYPE_CHECKING:
    from workbench.inspection.found import Found

LONG = 64
"""Lists of more items (vocabularies, merges) are left out of the configuration."""


def about_gguf(path: Path, found: Found) -> None:
    """Fill in what the file tells. Raises `MissingExtraError`, `ModelError`."""
    reader = open_gguf(path)
    for name, entry in reader.fields.items():
        value = _contents(entry)
        if value is not None:
            found.config[name] = value
    found.tensors = of_gguf(reader, path.name)
    _read_tokenizer(path, found)


def _contents(entry: Any) -> Any:
    """A field's value; None for what is too long to be a configuration."""
    if len(entry.data) > LONG:
        return None
    value = entry.contents()
    return value.tolist() if hasattr(value, "tolist") else value


def _read_tokenizer(path: Path, found: Found) -> None:
    from transformers import AutoTokenizer

    if "tokenizer.ggml.model" not in found.config:
        found.complain("the file holds no tokenizer", str(path))
        return
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(path.parent), gguf_file=path.name, trust_remote_code=False
        )
        found.add_tokenizer(tokenizer, str(path))
    except Exception as error:
        # transformers reads the tokenizers of some architectures only, and each fails in its own way.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found.complain(f"its tokenizer cannot be read: {first}", str(path))
