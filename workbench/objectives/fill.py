"""Token ids as pieces of a text that a person reads: samples, with what a model put where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.data.corruption.words import CONTINUES, UNDERLINE, scheme_of

if TYPE_CHECKING:
    from workbench.data import TokenStore
    from workbench.data.framing import Frame

EXCERPTS = 3
EXCERPT_TOKENS = 40


class TokenText:
    """Decodes runs of tokens so that, one after another, they give the text again."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.scheme = tokenizer, scheme_of(tokenizer.get_vocab())

    def run(self, ids: list[int]) -> str:
        """The text of some tokens, with a blank before it where the first starts a word. An id that the
        tokenizer does not know, in a vocabulary that was rounded up, is shown as its number."""
        if not ids:
            return ""
        text = str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        if not text and len(ids) == 1:
            return f"<{ids[0]}>"
        first = str(self.tokenizer.convert_ids_to_tokens(ids[0]) or "")
        if self.scheme == "wordpiece":
            return text.removeprefix(CONTINUES) if first.startswith(CONTINUES) else f" {text}"
        if self.scheme == "sentencepiece" and first.startswith(UNDERLINE):
            return " " + text.removeprefix(" ")
        return text

    def split(self, token: int) -> tuple[str, str]:
        """The blank before a token, if it has one, and the rest of its text."""
        text = self.run([token])
        rest = text.lstrip(" ")
        return (text[: len(text) - len(rest)], rest) if rest else ("", text)

    def join(self, parts: list[str]) -> str:
        """The whole text; a blank that only decoding put before it is taken off."""
        text = "".join(parts)
        return text if self.scheme in ("byte", "none") else text.removeprefix(" ")


def excerpts(store: TokenStore, tokenizer: Any, frame: Frame) -> list[str]:
    """The beginnings of three held-out documents, spread evenly over them."""
    count = min(EXCERPTS, store.num_documents)
    found = []
    for number in range(count):
        ids = store.document(number * store.num_documents // count).tolist()
        body = ids[len(frame.prefix) : len(ids) - len(frame.suffix)][:EXCERPT_TOKENS]
        found.append(str(tokenizer.decode(body, skip_special_tokens=True)))
    return [text for text in found if text.strip()]
