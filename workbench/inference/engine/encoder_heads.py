"""What a trained head says of a text: words for its masks, labels for it, or for the words in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from workbench.data.records.schemes import is_chunked

if TYPE_CHECKING:
    from tokenizers import Encoding

NOTHING = "O"
"""The tag of a word that is no entity."""

Word = tuple[int, int, str, float]
"""Where it begins and ends in the text, in characters, its label, and how probable that is."""


def filled(logits: torch.Tensor, ids: Sequence[int], mask_id: int, top_k: int, tokenizer: Any) -> Any:
    """The likeliest tokens for each mask, each mask by itself, from the logits [L, V] of a text: `token` (its
    id), `token_str`, `score` (its probability), and `sequence`, the text with this mask filled."""
    answers = []
    for place in [place for place, token in enumerate(ids) if token == mask_id]:
        best = logits[place].softmax(-1).topk(min(top_k, logits.shape[-1]))
        candidates = []
        for score, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            whole = [*ids[:place], token, *ids[place + 1 :]]
            candidates.append(
                {
                    "score": score,
                    "token": token,
                    "token_str": tokenizer.decode([token]).strip(),
                    "sequence": _shown(whole, mask_id, tokenizer),
                }
            )
        answers.append(candidates)
    return answers


def _shown(ids: Sequence[int], mask_id: int, tokenizer: Any) -> str:
    """The text, without the special tokens around it, but with the masks that are left in it."""
    hidden = {*tokenizer.all_special_ids} - {mask_id}
    text: str = tokenizer.decode([token for token in ids if token not in hidden])
    return text.strip()


def labelled(logits: torch.Tensor, labels: Sequence[str], *, several: bool) -> dict[str, Any]:
    """The likeliest label of a text and the probabilities of all, best first, from its logits [K]; with
    `several`, each label holds or does not for itself."""
    shares = logits.sigmoid() if several else logits.softmax(-1)
    scores = dict(sorted(zip(labels, shares.tolist(), strict=True), key=lambda pair: pair[1], reverse=True))
    label = next(iter(scores))
    return {"label": label, "score": scores[label], "scores": scores}


def words_of(logits: torch.Tensor, encoding: Encoding, labels: Sequence[str]) -> list[Word]:
    """A label for each word from the logits [L, K] of a text: the one at its first piece, as in training."""
    best = logits.softmax(-1).max(-1)
    scores, found = best.values.tolist(), best.indices.tolist()
    words: list[Word] = []
    before: int | None = None
    for place, word in enumerate(encoding.word_ids):
        start, end = encoding.offsets[place]
        if word is None:
            before = None
        elif word == before:
            first, _, label, score = words[-1]
            words[-1] = first, end, label, score
        else:
            words.append((start, end, labels[found[place]], scores[place]))
            before = word
    return words


def entities(words: Sequence[Word], text: str, labels: Sequence[str]) -> list[dict[str, Any]]:
    """`label`, `start`, `end`, `text`, `score` of what is no “O”. Words of one entity (IOB2, or I- behind
    another type) are joined, and it is as probable as they are on average."""
    chunked = is_chunked(labels)
    spans: list[list[Word]] = []
    before = ""
    for word in words:
        tag = word[2]
        continues = chunked and tag.startswith("I-") and before[1:] == tag[1:] and before != NOTHING
        if continues:
            spans[-1].append(word)
        elif tag != NOTHING:
            spans.append([word])
        before = tag
    return [_entity(span, text, chunked) for span in spans]


def _entity(span: list[Word], text: str, chunked: bool) -> dict[str, Any]:
    start, end, label = span[0][0], span[-1][1], span[0][2]
    # Byte-level tokenizers count the blank before a word as its own.
    start += len(text[start:end]) - len(text[start:end].lstrip())
    return {
        "label": label[2:] if chunked and label[:2] in ("B-", "I-") else label,
        "start": start,
        "end": end,
        "text": text[start:end],
        "score": sum(word[3] for word in span) / len(span),
    }
