"""The kinds of tokenizer that can be trained, each with its trainer, not yet trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.data.special_tokens import SpecialTokens

Pair = tuple["Tokenizer", Any]
"""A tokenizer without a vocabulary, and what gives it one."""

LONGEST_WORD = 100
"""A word of more characters is unknown to WordPiece, as in BERT."""


def bpe(vocab_size: int, special: SpecialTokens) -> Pair:
    """Byte-level byte-pair encoding: the most frequent pair is merged, again and again.

    Sennrich et al. 2016; on bytes: Radford et al. 2019.
    """
    from tokenizers import Tokenizer, models, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        # A pair seen once compresses nothing and only memorises.
        min_frequency=2,
        special_tokens=special.all,
        initial_alphabet=_bytes(),
        show_progress=False,
    )
    return _on_bytes(Tokenizer(models.BPE())), trainer


def unigram(vocab_size: int, special: SpecialTokens) -> Pair:
    """A unigram language model over pieces, pruned from above (Kudo 2018); on bytes, so that none is
    unknown and every text comes back exactly."""
    from tokenizers import Tokenizer, models, trainers

    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=special.all,
        unk_token=special.roles.get("unk_token"),
        initial_alphabet=_bytes(),
        show_progress=False,
    )
    return _on_bytes(Tokenizer(models.Unigram())), trainer


def wordpiece(vocab_size: int, special: SpecialTokens) -> Pair:
    """BERT's WordPiece, with upper and lower case: words, and `##` before pieces that go on with one.

    Blanks and line ends are lost, and characters it never saw are unknown. Schuster & Nakajima 2012;
    Devlin et al. 2019.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    unknown = special.roles["unk_token"]
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown, max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=special.all, show_progress=False
    )
    return tokenizer, trainer


def _on_bytes(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import decoders, pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _bytes() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


MODELS: dict[str, Callable[[int, SpecialTokens], Pair]] = {
    "bpe": bpe,
    "wordpiece": wordpiece,
    "unigram": unigram,
}
