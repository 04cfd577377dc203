"""Decoders and encoder–decoders of transformers, two layers of 64, whose logits differ enough to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

VOCABULARY = 211
CONTEXT = 512


def _decoder(name: str, head: str = "ForCausalLM", **values: Any) -> Callable[[], Any]:
    common = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    return _model(name, head, **(common | values))


def _encoder_decoder(name: str, head: str = "ForConditionalGeneration", **values: Any) -> Callable[[], Any]:
    common = {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 96,
        "decoder_ffn_dim": 96,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": None,
        # Tied to its input, a random output repeats the last token for ever.
        "tie_word_embeddings": False,
    }
    return _model(name, head, **(common | values))


def _model(
    name: str, head: str, *, forced_first: int | None = None, head_scale: float = 1.0, **values: Any
) -> Callable[[], Any]:
    def build() -> Any:
        torch.manual_seed(0)
        # Of these, Gemma's model of text alone has a configuration of another name.
        config = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")
        model = getattr(transformers, f"{name}{head}")(config(vocab_size=VOCABULARY, **values)).eval()
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    # As drawn, attention looks at everything alike, and a wrong mask hardly shows.
                    weights.mul_(3)
            model.get_output_embeddings().weight.mul_(head_scale)
        if forced_first is not None:
            model.generation_config.forced_bos_token_id = forced_first
        return model

    return build


DECODERS: dict[str, Callable[[], Any]] = {
    "llama": _decoder("Llama", intermediate_size=96, num_key_value_heads=2),
    "qwen2": _decoder("Qwen2", intermediate_size=96, num_key_value_heads=2),
    "gpt2": _model(
        "GPT2",
        "LMHeadModel",
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
    ),
    "opt": _decoder("OPT", ffn_dim=96, word_embed_proj_dim=64),
    "bloom": _model("Bloom", "ForCausalLM", hidden_size=64, n_layer=2, n_head=4),
    "mistral": _decoder("Mistral", intermediate_size=96, num_key_value_heads=2, sliding_window=8),
    "gemma3": _decoder(
        "Gemma3",
        intermediate_size=96,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=8,
        num_hidden_layers=6,
    ),
}
ENCODER_DECODERS: dict[str, Callable[[], Any]] = {
    "t5": _model(
        "T5",
        "ForConditionalGeneration",
        d_model=64,
        d_kv=16,
        d_ff=96,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        # T5 draws its last layer forty times as large as the others do: its logits would be, and what
        # rounding does to them.
        tie_word_embeddings=False,
        head_scale=0.025,
    ),
    "bart": _encoder_decoder("Bart", forced_first=5),
    "marian": _encoder_decoder("Marian", "MTModel", decoder_start_token_id=2),
}
MODELS = DECODERS | ENCODER_DECODERS


def some_ids(length: int, seed: int = 0) -> list[int]:
    """Tokens without a role."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
    return ids


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Logits of the same model, however they were computed in fp32."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
