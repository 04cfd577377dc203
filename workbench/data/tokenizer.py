"""The tokenizer of a run: an existing one, or one trained on the training documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data.artifact import build_once, key_of, read_meta, write_meta
from workbench.data.corpus import TOKENIZER_BYTES, Corpus
from workbench.data.framing import Frame
from workbench.data.special_tokens import STYLES, SpecialTokens
from workbench.data.ticker import TRAINING_TOKENIZER, Progress, Ticker
from workbench.data.tokenizer_models import MODELS
from workbench.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = 2
FILE = "tokenizer.json"
CUT = re.compile(r"(?<=\S\n)(?=\S)|(?<=[^\W\d_])(?= [^\W\d_])")
"""Between two lines, or before the blank between two words: no byte-level tokenizer joins these."""

PROBES = (
    "one\ntwo",
    "x = 1\nreturn y",
    "The end.\nNext, one of the many",
    "}\n#include",
    "über\n中文",
    "a,\n- b",
    "7\n8",
    "it is in the way of a man",
)


def load_tokenizer(name_or_path: str, *, revision: str | None, trust_remote_code: bool) -> Any:
    """An existing tokenizer with a fast version, from a folder or the hub.

    Raises `ModelError` when there is none, or only one that runs in Python.
    """
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(
            name_or_path, revision=revision, trust_remote_code=trust_remote_code, use_fast=True
        )
    except Exception as error:
        # Every kind of tokenizer fails in its own way: OSError, ValueError, ImportError, KeyError ...
        raise _not_loaded(error, name_or_path) from error
    if not found.is_fast:
        raise ModelError(
            f"the tokenizer “{type(found).__name__}” has no fast version (tokenizer.json)",
            where=name_or_path,
            hint="convert it with transformers on a machine that has its original library, and save it again",
        )
    return found


def _not_loaded(error: Exception, name: str) -> ModelError:
    path = Path(name).expanduser()
    reason = str(error).strip().split("\n")[0]
    if path.is_dir():
        message, hint = (
            f"the folder holds no tokenizer that can be loaded ({reason})",
            ("it needs tokenizer.json and tokenizer_config.json"),
        )
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        message, hint = "the folder does not exist", "name a folder with a tokenizer, or a name on the hub"
    else:
        message = f"the tokenizer cannot be had: no such folder, and not from the hub ({reason})"
        hint = "check the name and the network; a private or gated one needs: hf auth login"
    if "trust_remote_code" in str(error):
        message, hint = "it brings its own code", "if you trust its author: model.trust_remote_code=true"
    return ModelError(message, where=name, hint=hint)


def train_tokenizer(
    corpus: Corpus, *, vocab_size: int, cache: Path, progress: Progress, family: str = "llama"
) -> Any:
    """A byte-level BPE of `vocab_size` entries, fewer where the text has too little to merge.

    With the special tokens of `family`. Learnt from the training documents alone, and kept under `cache`
    for the next run on the same ones. Any text comes back from its tokens exactly.
    """
    file = trained_file(corpus, vocab_size=vocab_size, cache=cache, progress=progress, family=family)
    return wrapped(file, STYLES[family])


def wrapped(file: Path, special: SpecialTokens) -> Any:
    """A tokenizer.json as transformers' fast tokenizer, which knows its special tokens by their roles."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(file), clean_up_tokenization_spaces=False, **special.arguments
    )


def trained_file(
    corpus: Corpus, *, vocab_size: int, cache: Path, progress: Progress, family: str = "llama"
) -> Path:
    """The tokenizer.json of `train_tokenizer`, from the cache or made now."""
    special = STYLES[family]
    target = cache / "tokenizers" / key_of(VERSION, corpus.key, vocab_size, special.all, special.pair)

    def build(folder: Path) -> None:
        trained = train_on(corpus, vocab_size, special, progress)
        trained.save(str(folder / FILE))
        write_meta(folder, {"vocab_size": trained.get_vocab_size(), "asked": vocab_size})

    def is_sound(folder: Path) -> bool:
        return read_meta(folder) is not None and (folder / FILE).is_file()

    build_once(target, build, is_sound, progress)
    return target / FILE


def train_on(
    corpus: Corpus, vocab_size: int, special: SpecialTokens, progress: Progress, kind: str = "bpe"
) -> Tokenizer:
    """A new tokenizer of a kind (see `MODELS`), trained on the training documents of a corpus."""
    ticker = Ticker(progress, TRAINING_TOKENIZER, min(corpus.training_bytes(), TOKENIZER_BYTES))

    def counted() -> Iterator[str]:
        for text in corpus.tokenizer_texts():
            ticker.add(len(text.encode()))
            yield text

    tokenizer, trainer = MODELS[kind](vocab_size, special)
    tokenizer.train_from_iterator(counted(), trainer)
    tokenizer.post_processor = special.post_processor(tokenizer)
    ticker.finish()
    return tokenizer


class Encoder:
    """Documents to token ids, many at once, by a private copy of a tokenizer's fast part.

    The copy neither truncates nor pads, whatever the tokenizer's file says; special tokens that stand
    in a text become those tokens, as they do in transformers.
    """

    def __init__(self, tokenizer: Any, frame: Frame) -> None:
        """`frame` is what stands around each document."""
        from tokenizers import Tokenizer

        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self.key = blake2b(self._backend.to_str().encode(), digest_size=16).hexdigest()
        self.frame = frame
        self.largest_id = max(self._backend.get_vocab(with_added_tokens=True).values())

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, without its frame."""
        return [found.ids for found in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def may_cut(self) -> bool:
        """Whether a text may be encoded in pieces, cut at `CUT`, with the same ids as in one.

        True of byte-level tokenizers, not of those that put a blank before each text.
        """
        pieces = [CUT.split(probe) for probe in PROBES]
        encoded = iter(self.encode([piece for parts in pieces for piece in parts]))
        joined = [[token for _ in parts for token in next(encoded)] for parts in pieces]
        return joined == self.encode(list(PROBES))
