"""Small models whose export is checked: every kind of tokenizer and of decoder that GGUF is written for."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from workbench.data.special_tokens import STYLES
from workbench.data.tokenizer import wrapped
from workbench.data.tokenizer_models import bpe
from workbench.exporting.llama_cpp.pre_tokenizers import LLAMA3, QWEN2

SPACE = "▁"


def corpus(bytes_: int = 300_000) -> Iterable[str]:
    """Text and code to train a tokenizer on: some files of Python's own library."""
    read = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        read += len(text)
        yield text
        if read > bytes_:
            return


def ours(folder: Path, texts: Iterable[str], size: int = 600) -> Any:
    """A tokenizer as the workbench trains it for its decoders."""
    tokenizer, trainer = bpe(size, STYLES["llama"])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = STYLES["llama"].post_processor(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return wrapped(folder / "tokenizer.json", STYLES["llama"])


STEPS: dict[str, Callable[[], list[Any]]] = {
    "gpt-2": lambda: [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": lambda: [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ],
    "llama-bpe": lambda: [_split(LLAMA3), _bytes()],
    "smaug-bpe": lambda: [_split(LLAMA3), _bytes()],
    "qwen2": lambda: [_split(QWEN2), _bytes()],
}
"""By llama.cpp's name for them."""


def _split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _bytes() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def byte_level(pre: str, texts: Iterable[str], size: int = 600) -> Any:
    """A byte-level tokenizer that cuts texts up in one of llama.cpp's ways."""
    inner = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(STEPS[pre]())
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(texts, trainer)
    if pre == "llama-bpe":
        # A word that is taken whole, though no merges make it.
        inner = _with_word(inner, "Ġthequick")
    special = [AddedToken(token, normalized=False) for token in ("<|im_start|>", "<|im_end|>")]
    inner.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )


def _with_word(inner: Tokenizer, word: str) -> Tokenizer:
    import json

    content = json.loads(inner.to_str())
    content["model"]["vocab"][word] = len(content["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(content))


def sentencepiece(pieces: Mapping[str, float] | None, texts: Iterable[str], *, legacy: bool = True) -> Any:
    """A tokenizer as transformers makes of a Llama 2's SentencePiece: `pieces` with their scores, or else
    those that a BPE learns from `texts`, every way to make one a merge."""
    start = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    if pieces is None:
        pieces = _learnt(texts)
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys([*start, *pieces]))}
    ways = [
        (-pieces[whole], vocabulary[whole[:cut]], vocabulary[whole[cut:]], (whole[:cut], whole[cut:]))
        for whole in pieces
        if whole not in start
        for cut in range(1, len(whole))
        if whole[:cut] in pieces and whole[cut:] in pieces
    ]
    merges = [way[-1] for way in sorted(ways)]
    inner = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if legacy:
        inner.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    inner.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in start[:3]])
    from tokenizers import processors

    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def _learnt(texts: Iterable[str]) -> dict[str, float]:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    inner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    ranked = sorted(inner.get_vocab().items(), key=lambda item: item[1])
    return {piece: -float(rank) for rank, (piece, _) in enumerate(ranked)}


def decoder(name: str, tokenizer: Any, **values: Any) -> Any:
    """Two layers of 64 of `{name}ForCausalLM`, grouped heads, weights far enough apart to tell."""
    shape = {
        "vocab_size": len(tokenizer) + 5,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(shape | values))
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for part_name, part in model.named_parameters():
            # As drawn, attention looks at everything alike, norms are ones, and biases are zeros.
            part.mul_(3) if part.dim() > 1 else part.add_(torch.randn_like(part), alpha=0.2)
            assert part_name
    return model


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
