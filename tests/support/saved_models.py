"""Tiny models in folders, with a tokenizer that knows letters and a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel

SPECIAL = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "mask_token": "[MASK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
}
WORDS = ("the", "red", "fox", "runs", "in", "Paris", "and", "Rome", "Ada", "lives")


def tokenizer_of(*, framed: bool = False) -> Any:
    """Bytes, words with a blank before them, special tokens; with `framed`, [CLS] … [SEP] around a text."""
    pieces = [*SPECIAL.values(), *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for word in WORDS:
        whole = "Ġ"
        for letter in word:
            if whole + letter not in pieces:
                pieces.append(whole + letter)
                merges.append((whole, letter))
            whole += letter
    backend = Tokenizer(models.BPE(vocab={piece: id for id, piece in enumerate(pieces)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = ByteLevel()
    if framed:
        ends = [(token, pieces.index(token)) for token in ("[CLS]", "[SEP]")]
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def save(
    folder: Path,
    name: str,
    *,
    head: str | None = None,
    framed: bool = False,
    tokenizer: bool = True,
    scale: float = 3.0,
    **values: Any,
) -> Any:
    """A model `{name}{head}` of two layers of 64 in a folder, of which it is returned in fp32."""
    tokens = tokenizer_of(framed=framed)
    common = {
        "vocab_size": len(tokens),
        **{name: 64 for name in ("hidden_size", "d_model")},
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if name == "XLNet":
        del common["max_position_embeddings"]
        common |= {"n_head": 4, "d_inner": 96, "d_head": 16}
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(common | values))
    model = getattr(transformers, f"{name}{head or 'ForCausalLM'}")(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                # As drawn, all tokens look alike to attention.
                weights.mul_(scale)
    model.save_pretrained(folder)
    if tokenizer:
        tokens.save_pretrained(folder)
    return model


def write_gguf(path: Path, model: Any, tokenizer: Any) -> None:
    """A Llama as llama.cpp's converter writes it: rows of queries and keys in the order of its own RoPE."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    backend = tokenizer.backend_tokenizer
    vocabulary = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    special = set(SPECIAL.values())
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token in special else 1 for token, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.layers.": "blk.",
    }
    for name, weights in model.state_dict().items():
        array = weights.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name:
                halves = array.reshape(count, 2, -1, config.hidden_size)
                array = halves.swapaxes(1, 2).reshape(array.shape)
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
