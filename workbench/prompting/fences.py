"""Tags around quoted text that nothing inside the text can close."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count


def free_tag(word: str, texts: Iterable[str]) -> str:
    """`word`, unless a text holds such a tag; then `word-2`, and so on."""
    texts = list(texts)
    for number in count(1):
        tag = word if number == 1 else f"{word}-{number}"
        pattern = re.compile(rf"<\s*/?\s*{tag}(?![\w-])", re.IGNORECASE)
        if not any(pattern.search(text) for text in texts):
            return tag
    raise AssertionError("a finite text holds finitely many tags")
