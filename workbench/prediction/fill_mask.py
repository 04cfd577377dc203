"""A masked language model fills the mask tokens of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.prediction.opening import Opened

CANDIDATES = 5
SPELLINGS = ("[MASK]", "<mask>")
"""How people write a mask, whatever the tokenizer calls it."""


def fill_masks(
    opened: Opened, records: Sequence[tuple[Mapping[str, Any], str]], batch_size: int
) -> Iterator[dict[str, Any]]:
    """`prediction`, the text with each mask filled by its likeliest token, and `scores`: the likeliest five
    for each mask, each by itself. `records` are records with the places they stand at."""
    for start in range(0, len(records), batch_size):
        chunk = records[start : start + batch_size]
        yield from _fill(opened, [_text_of(opened, record, where) for record, where in chunk])


def _text_of(opened: Opened, record: Mapping[str, Any], where: str) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        raise DataError(
            f"no column “text”; the columns are {', '.join(record) or '(none)'}",
            where=where,
            hint="a masked language model fills the [MASK] in a text",
        )
    mask = str(opened.tokenizer.mask_token)
    for spelling in SPELLINGS:
        text = text.replace(spelling, mask)
    if mask not in text:
        raise DataError(
            "there is no mask to fill",
            where=where,
            hint=f"write {mask} where the model is to find a word; "
            "for labels, train a head: workbench train classify model.model_name_or_path=…",
        )
    return text


def _fill(opened: Opened, texts: list[str]) -> Iterator[dict[str, Any]]:
    tokenizer = opened.tokenizer
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=opened.max_length, return_tensors="pt"
    ).to(opened.model.device)
    logits = opened.model(**encoded).logits.float()
    ids = encoded["input_ids"]
    mask = ids == tokenizer.mask_token_id
    best = logits[mask].softmax(-1).topk(CANDIDATES)
    filled = ids.masked_scatter(mask, best.indices[:, 0])
    place = 0
    for row in range(len(texts)):
        scores = []
        for number in range(place, place + int(mask[row].sum())):
            pairs = zip(best.indices[number].tolist(), best.values[number].tolist(), strict=True)
            scores.append([{"token": tokenizer.decode([token]), "score": share} for token, share in pairs])
        place += len(scores)
        kept = filled[row][encoded["attention_mask"][row].bool()]
        yield {"prediction": tokenizer.decode(kept, skip_special_tokens=True).strip(), "scores": scores}
