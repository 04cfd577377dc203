"""New models, as transformers configurations, so that whatever is built loads anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import LlamaConfig, LlamaForCausalLM

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from workbench.recipe import ModelSection


def build_model(section: ModelSection, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A randomly initialised decoder in fp32, seeded by torch's global generator.

    The vocabulary is the recipe's where the tokenizer was trained for it, and the tokenizer's own
    where an existing one was named.
    """
    vocabulary = len(tokenizer) if section.tokenizer_name_or_path else max(section.vocab_size, len(tokenizer))
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=section.hidden_size,
        intermediate_size=section.feed_forward_size,
        num_hidden_layers=section.num_hidden_layers,
        num_attention_heads=section.num_attention_heads,
        num_key_value_heads=section.key_value_heads,
        max_position_embeddings=section.max_position_embeddings,
        tie_word_embeddings=section.tie_word_embeddings,
        initializer_range=section.initializer_range,
        rms_norm_eps=section.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": section.rope_theta},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    config._attn_implementation = section.attn_implementation
    model: PreTrainedModel = LlamaForCausalLM(config)
    return model
