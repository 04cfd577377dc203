"""GGUF files read back: tensors, metadata, vocabularies. In llama.cpp they are loaded by a benchmark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import LLAMA3_ROPE, STEPS, byte_level, corpus, decoder, sentencepiece
from gguf import GGUFReader, TokenType, dequantize
from transformers import AutoModelForCausalLM

from workbench.data.chat_templates import chat_template, known_templates
from workbench.exporting.conversation import does_the_same
from workbench.exporting.llama_cpp.template import portable_template

IDS = torch.tensor([[7, 50, 120, 33, 260, 9, 9, 41]])


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(corpus(40_000))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]], Path]:
    """Metadata, tensors as floats, and the file."""
    path = next(folder.glob("*.gguf"))
    reader = GGUFReader(path)
    tensors = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    return {name: field.contents() for name, field in reader.fields.items()}, tensors, path


def assert_same_model(model: Any, path: Path) -> None:
    """transformers' own reader of GGUF undoes what was done, so the logits are the same."""
    # Of Qwen3 it does not read how long heads are.
    config = model.config if model.config.model_type == "qwen3" else None
    opened = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, config=config).eval()
    with torch.no_grad():
        torch.testing.assert_close(opened(IDS).logits, model(IDS).logits, rtol=1e-4, atol=1e-4)


def test_llama(llama: Any, tokenizer: Any, exported: Any, tmp_path: Path) -> None:
    model, folder = llama
    told = exported(folder, "gguf")
    meta, tensors, path = read(tmp_path / "out")
    assert path.name == "tiny-f32.gguf" == told["files"][0]["name"]
    assert_same_model(model, path)
    assert meta["general.architecture"] == "llama" and meta["general.name"] == "tiny"
    assert meta["llama.attention.head_count"] == 4 and meta["llama.attention.head_count_kv"] == 2
    assert meta["llama.context_length"] == 256 and meta["llama.rope.freq_base"] == 10_000.0
    # Row i of a head is turned with row i + 1 there, with row i + size / 2 here.
    weights = model.model.layers[0].self_attn.k_proj.weight.detach().numpy()
    rows = [head * 16 + half * 8 + i for head in range(2) for i in range(8) for half in range(2)]
    assert np.array_equal(tensors["blk.0.attn_k.weight"], weights[rows])
    assert np.array_equal(tensors["output.weight"], model.lm_head.weight.detach().numpy())


def test_vocabulary_and_special_tokens(llama: Any, tokenizer: Any, exported: Any, tmp_path: Path) -> None:
    _, folder = llama
    told = exported(folder, "gguf")
    meta, tensors, _ = read(tmp_path / "out")
    key = "tokenizer.ggml."
    tokens, kinds = meta[f"{key}tokens"], meta[f"{key}token_type"]
    assert len(tokens) == len(kinds) == tensors["token_embd.weight"].shape[0] == len(tokenizer) + 5
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert kinds[-5:] == [TokenType.UNUSED] * 5 and len(set(tokens)) == len(tokens)
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert kinds[turn] == TokenType.CONTROL and kinds[300] == TokenType.NORMAL
    assert meta[f"{key}model"] == "gpt2" and meta[f"{key}pre"] == "gpt-2"
    assert len(meta[f"{key}merges"]) > 50 and all(merge.count(" ") == 1 for merge in meta[f"{key}merges"])
    for role, id in (("bos", "bos"), ("eos", "eos"), ("padding", "pad")):
        assert meta[f"{key}{role}_token_id"] == getattr(tokenizer, f"{id}_token_id")
    assert meta[f"{key}eot_token_id"] == turn
    # ChatML begins without the token that the tokenizer puts before a text.
    assert meta[f"{key}add_bos_token"] is False and "begins without it" in " ".join(told["notes"])
    template = meta["tokenizer.chat_template"]
    assert "generation -%}" not in template and does_the_same(tokenizer, tokenizer.chat_template, template)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0"])
def test_number_formats(llama: Any, exported: Any, tmp_path: Path, dtype: str) -> None:
    model, folder = llama
    exported(folder, "gguf", dtype=dtype)
    _, tensors, _ = read(tmp_path / "out")
    found, wanted = tensors["blk.1.ffn_down.weight"], model.model.layers[1].mlp.down_proj.weight.detach()
    if dtype == "q8_0":
        blocks = np.abs(wanted.numpy()).reshape(-1, 32).max(axis=1, keepdims=True)
        # Half a step of max / 127, and 127 steps whose size was rounded to the 11 bits of fp16.
        bound = blocks / 127 / 2 + blocks * 2.0**-11
        assert (np.abs(found - wanted.numpy()).reshape(-1, 32) <= bound).all()
    else:
        rounded = wanted.half() if dtype == "f16" else wanted.bfloat16()
        assert np.array_equal(found, rounded.float().numpy())
    assert np.array_equal(tensors["output_norm.weight"], model.model.norm.weight.detach().numpy())


@pytest.fixture(scope="module")
def others(texts: list[str]) -> dict[str, tuple[Any, Any]]:
    """Models of other kinds with tokenizers of other kinds."""
    qwen, pieces = byte_level("qwen2", texts, size=350), sentencepiece(None, texts)
    return {
        "qwen2": (decoder("Qwen2", qwen, tie_word_embeddings=True), qwen),
        "qwen3": (decoder("Qwen3", qwen, head_dim=32), qwen),
        "llama": (decoder("Mistral", pieces, sliding_window=64), pieces),
    }


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama"])
def test_other_architectures(others: Any, save: Any, exported: Any, tmp_path: Path, name: str) -> None:
    model, tokens = others[name]
    told = exported(save(model, tokens), "gguf")
    meta, tensors, path = read(tmp_path / "out")
    assert meta["general.architecture"] == name
    assert ("output.weight" in tensors) != (name == "qwen2")
    if name == "qwen2":
        bias = model.model.layers[0].self_attn.q_proj.bias.detach().numpy()
        assert np.array_equal(tensors["blk.0.attn_q.bias"], bias) and bias.any()
    if name == "qwen3":
        assert meta["qwen3.attention.key_length"] == 32 and "blk.0.attn_q_norm.weight" in tensors
    if name == "llama":
        assert meta["llama.context_length"] == 64 and "window" in told["notes"][0]
    assert_same_model(model, path)


def test_sentencepiece(others: Any, save: Any, exported: Any, tmp_path: Path) -> None:
    model, tokens = others["llama"]
    exported(save(model, tokens), "gguf")
    meta, _, _ = read(tmp_path / "out")
    pieces, kinds, scores = (meta[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type", "scores"))
    assert meta["tokenizer.ggml.model"] == "llama" and meta["tokenizer.ggml.pre"] == "default"
    assert meta["tokenizer.ggml.add_space_prefix"] is True and meta["tokenizer.ggml.add_bos_token"] is True
    assert kinds[:4] == [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.BYTE]
    for text in ("the self.value = 12", "né 中 def f(x):\n    return x"):
        found = [pieces[id] for id in tokens(text, add_special_tokens=False)["input_ids"]]
        assert list(by_scores(text, dict(zip(pieces, scores, strict=True)))) == found


def by_scores(text: str, scores: dict[str, float]) -> Iterator[str]:
    """SentencePiece's BPE, written down: join the neighbours whose piece has the highest score, the first
    of them, until none is known; what is left and unknown becomes bytes."""
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        joined = [parts[place] + parts[place + 1] for place in range(len(parts) - 1)]
        known = [(-scores[piece], place) for place, piece in enumerate(joined) if piece in scores]
        if not known:
            break
        place = min(known)[1]
        parts[place : place + 2] = [joined[place]]
    for part in parts:
        yield from (part,) if part in scores else (f"<0x{byte:02X}>" for byte in part.encode())


@pytest.mark.parametrize("pre", STEPS)
def test_words_by_name(texts: list[str], pre: str) -> None:
    from workbench.exporting.llama_cpp.vocabulary import vocabulary_of

    tokens = byte_level(pre, texts[:2], size=300)
    assert vocabulary_of(tokens, len(tokens), "").pre == pre


def test_rope_of_llama_3(tokenizer: Any, save: Any, exported: Any, tmp_path: Path) -> None:
    model = decoder("Llama", tokenizer, rope_parameters=LLAMA3_ROPE)
    exported(save(model, tokenizer), "gguf")
    _, tensors, _ = read(tmp_path / "out")
    wanted = []
    for i in range(8):
        # Llama 3.1's rule: long waves are stretched by the factor, short ones not, those between in part.
        wave = 2 * math.pi * 10_000.0 ** (2 * i / 16)
        smooth = (64 / wave - 1.0) / (4.0 - 1.0)
        between = 1 / ((1 - smooth) / 4.0 + smooth)
        wanted.append(4.0 if wave > 64 / 1.0 else 1.0 if wave < 64 / 4.0 else between)
    assert tensors["rope_freqs.weight"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", known_templates())
def test_templates_without_marks_write_the_same(tokenizer: Any, name: str) -> None:
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = chat_template(name)
        plain = portable_template(tokenizer)
    finally:
        tokenizer.chat_template = kept
    assert plain is not None and "generation -%}" not in plain.replace("add_generation_prompt", "")
    assert does_the_same(tokenizer, chat_template(name), plain)
