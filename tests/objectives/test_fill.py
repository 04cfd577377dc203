"""Tokens as text, one run after another, in three kinds of vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
from encoder_rows import tokenizer_for
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench.objectives.fill import TokenText


def wordpiece() -> Any:
    vocabulary = ["[UNK]", "[MASK]", "the", "king", "##dom", "of", "france", "."]
    model = models.WordPiece({token: index for index, token in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", unk_token="[UNK]")


def sentencepiece() -> Any:
    pieces = ["<unk>", "<mask>", "▁the", "▁king", "dom", "▁of", "▁france", "."]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="<mask>", unk_token="<unk>")


MAKERS = {"byte": lambda: tokenizer_for("bert"), "wordpiece": wordpiece, "sentencepiece": sentencepiece}


@pytest.mark.parametrize("kind", MAKERS)
def test_runs_one_after_another_are_the_text(kind: str) -> None:
    tokenizer = MAKERS[kind]()
    text = TokenText(tokenizer)
    assert text.scheme == kind
    ids = tokenizer("the kingdom of france.", add_special_tokens=False)["input_ids"]
    whole = text.join([text.run(ids)])
    expected = "the kingdom of france."
    for cut in range(len(ids) + 1):
        parts = [text.run(ids[:cut]), text.run(ids[cut:])]
        # WordPiece forgets that no blank stands before a full stop.
        assert text.join(parts).replace(" .", ".") == expected == whole.replace(" .", ".")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_token_is_split_into_its_blank_and_its_text(kind: str) -> None:
    tokenizer = MAKERS[kind]()
    text = TokenText(tokenizer)
    ids = tokenizer("the kingdom", add_special_tokens=False)["input_ids"]
    blank, word = text.split(next(token for token in ids if text.run([token]).startswith(" k")))
    assert blank == " " and "kingdom".startswith(word)
    blank, word = text.split(ids[-1])
    assert blank == "" and "kingdom".endswith(word)


def test_an_id_that_no_token_has_is_a_number() -> None:
    text = TokenText(tokenizer_for("bert"))
    assert text.split(100_000) == ("", "<100000>")
    assert text.run([]) == ""
