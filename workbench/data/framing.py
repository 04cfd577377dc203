"""The special tokens that a text stands between, which depend on what the model is to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.errors import ModelError


@dataclass(frozen=True)
class Frame:
    """Token ids before and behind a text: `[CLS] … [SEP]`, `… </s>`, `… <sep> <cls>`."""

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many tokens a frame adds."""
        return len(self.prefix) + len(self.suffix)


PARTS = {
    "mlm": (("cls_token",), ("sep_token",)),
    "rtd": (("cls_token",), ("sep_token",)),
    "plm": ((), ("sep_token", "cls_token")),
    "denoise": ((), ("eos_token",)),
}
"""Objectives that frame each piece of text, with the names of the tokens before and behind it."""


def frame_for(objective: str, tokenizer: Any) -> Frame:
    """The frame that a pre-training objective puts texts in.

    BERT and ELECTRA read `[CLS] text [SEP]`, XLNet `text <sep> <cls>`, T5 `text </s>`. A decoder reads
    what its tokenizer adds: BOS where it does, and EOS. Raises `ModelError` when the tokenizer lacks one.
    """
    if objective not in PARTS:
        return _decoder_frame(tokenizer)
    prefix, suffix = PARTS[objective]
    if objective == "denoise" and _frames_both_sides(tokenizer):
        prefix = ("bos_token",)
    return Frame(
        tuple(special_id(tokenizer, name, objective) for name in prefix),
        tuple(special_id(tokenizer, name, objective) for name in suffix),
    )


def special_id(tokenizer: Any, name: str, objective: str) -> int:
    """The id of a special token that an objective cannot do without."""
    found = getattr(tokenizer, f"{name}_id", None)
    if found is None:
        raise ModelError(
            f"the tokenizer has no {name}, which the objective {objective} needs",
            where=str(getattr(tokenizer, "name_or_path", "") or "the tokenizer"),
            hint="leave model.tokenizer_name_or_path empty to train one that fits, or name another",
        )
    return int(found)


def _decoder_frame(tokenizer: Any) -> Frame:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    plain, framed = (tokenizer("a", add_special_tokens=flag)["input_ids"] for flag in (False, True))
    adds_bos = bos is not None and framed[:1] == [bos] and plain[:1] != [bos]
    return Frame((bos,) if adds_bos else (), () if eos is None else (eos,))


def _frames_both_sides(tokenizer: Any) -> bool:
    """Whether the tokenizer itself writes `<s> text </s>`, as BART's does and T5's does not."""
    bos = getattr(tokenizer, "bos_token_id", None)
    return bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
