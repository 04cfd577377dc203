"""The special tokens of a new tokenizer, in the dialect of the family it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SENTINELS = 100
"""`<extra_id_0>` … as T5 has them: one for each span that a row may have cut out."""


@dataclass(frozen=True)
class SpecialTokens:
    """Names of special tokens by their role, and how a text and a pair of texts are framed.

    `single` and `pair` are templates of `tokenizers`: `$A:0` is the first text, its pieces of segment 0.
    """

    roles: dict[str, str]
    single: str
    pair: str
    extra: tuple[str, ...] = ()
    segments: bool = False
    left_padded: bool = False

    @property
    def all(self) -> list[str]:
        """Every special token, in the order of their ids."""
        return [*dict.fromkeys(self.roles.values()), *self.extra]

    def post_processor(self, tokenizer: Tokenizer) -> Any:
        """What puts them around a text."""
        from tokenizers import processors

        return processors.TemplateProcessing(
            single=self.single,
            pair=self.pair,
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in self.all],
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """Their roles, as transformers' fast tokenizer takes them."""
        names: dict[str, Any] = dict(self.roles)
        if self.extra:
            names["extra_special_tokens"] = list(self.extra)
        inputs = ["input_ids", "token_type_ids", "attention_mask"]
        if not self.segments:
            inputs.remove("token_type_ids")
        if self.left_padded:
            names["padding_side"] = "left"
        return {**names, "model_input_names": inputs}


_DECODER = SpecialTokens(
    {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"},
    "<|bos|> $A",
    "<|bos|> $A <|bos|> $B",
)
_ENCODER = SpecialTokens(
    {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "[CLS]:0 $A:0 [SEP]:0",
    "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
    segments=True,
)
_ONE_SEGMENT = SpecialTokens(_ENCODER.roles, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
_XLNET = SpecialTokens(
    {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "<sep>",
        "cls_token": "<cls>",
        "mask_token": "<mask>",
    },
    "$A:0 <sep>:0 <cls>:2",
    "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
    segments=True,
    # The last token stands for the whole text, so nothing may come behind it.
    left_padded=True,
)
_T5 = SpecialTokens(
    {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    "$A </s>",
    "$A </s> $B </s>",
    extra=tuple(f"<extra_id_{number}>" for number in range(SENTINELS)),
)
_BART = SpecialTokens(
    {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    },
    "<s> $A </s>",
    "<s> $A </s> </s> $B </s>",
)

STYLES: dict[str, SpecialTokens] = {
    "llama": _DECODER,
    "bert": _ENCODER,
    "electra": _ENCODER,
    "modernbert": _ONE_SEGMENT,
    "xlnet": _XLNET,
    "t5": _T5,
    "bart": _BART,
}
"""The special tokens for each family of models."""
