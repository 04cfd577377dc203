"""Shapes of a recipe as transformers configurations, so that whatever is built loads anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import (
    BartConfig,
    BertConfig,
    ElectraConfig,
    LlamaConfig,
    MinistralConfig,
    MistralConfig,
    ModernBertConfig,
    PreTrainedConfig,
    Qwen3Config,
    T5Config,
    XLNetConfig,
)

from workbench.models.reward_head import LABEL
from workbench.models.rope_scaling import extend

if TYPE_CHECKING:
    from workbench.models.purpose import Purpose
    from workbench.recipe import ModelSection

EMBEDDED_POSITIONS = ("bert", "electra", "bart")


def config_of(section: ModelSection, tokenizer: Any, purpose: Purpose) -> PreTrainedConfig:
    """The configuration of a new model of the recipe's family and shape, with the tokenizer's special ids.

    The vocabulary is the recipe's where the tokenizer was trained for it, and the tokenizer's own where
    an existing one was named.
    """
    vocabulary = len(tokenizer) if section.tokenizer_name_or_path else max(section.vocab_size, len(tokenizer))
    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "initializer_range": section.initializer_range,
        **_special_ids(tokenizer),
        **_head(purpose),
    }
    config: PreTrainedConfig = _MAKERS[section.family](section, shared)
    if (extension := section.rope_extension) is not None:
        extend(config, extension, "model.rope_scaling")
    config._attn_implementation = "eager" if section.family == "xlnet" else section.attn_implementation
    return config


def generator_config(config: ElectraConfig, section: ModelSection) -> ElectraConfig:
    """The generator's configuration that goes with a discriminator's: the same, narrower."""
    width = section.generator_hidden_size
    feed_forward = section.feed_forward_of(width)
    if section.intermediate_size:
        feed_forward = round(section.intermediate_size * width / section.hidden_size)
    values = config.to_dict() | {
        "hidden_size": width,
        "num_attention_heads": section.generator_heads,
        "intermediate_size": feed_forward,
        "architectures": ["ElectraForMaskedLM"],
    }
    generator = ElectraConfig.from_dict(values)
    generator._attn_implementation = config._attn_implementation
    return generator


def _special_ids(tokenizer: Any) -> dict[str, Any]:
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id")
    return {name: getattr(tokenizer, name, None) for name in names}


def _head(purpose: Purpose) -> dict[str, Any]:
    if purpose.objective == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    if purpose.objective == "reward":
        return {"id2label": {0: LABEL}, "label2id": {LABEL: 0}}
    if not purpose.labels:
        return {}
    head: dict[str, Any] = {
        "id2label": dict(enumerate(purpose.labels)),
        "label2id": {label: number for number, label in enumerate(purpose.labels)},
    }
    if purpose.objective == "classification":
        head["problem_type"] = "single_label_classification"
    return head


def _llama(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    """Llama, or what is Llama with the attention asked for: Mistral, Ministral and Qwen 3 where they have it,
    else our own type."""
    values = _decoder(section) | shared
    attention = section.attention_shape
    if not attention.is_native:
        from workbench.models.attention.configuration import WorkbenchLlamaConfig

        return WorkbenchLlamaConfig(
            attention_kind=attention.kind,
            attention_window=attention.window,
            global_tokens=attention.global_tokens,
            attention_stride=attention.stride,
            qk_norm=section.qk_norm,
            **values,
        )
    layers, every = section.num_hidden_layers, attention.global_every
    kinds = None
    if attention.window is not None:
        kinds = [
            "full_attention" if every and number % every == 0 else "sliding_attention"
            for number in range(1, layers + 1)
        ]
    if section.qk_norm:
        return Qwen3Config(
            use_sliding_window=kinds is not None,
            sliding_window=attention.window,
            layer_types=kinds,
            **values,
        )
    if kinds is None:
        return LlamaConfig(**values)
    if every:
        return MinistralConfig(sliding_window=attention.window, layer_types=kinds, **values)
    return MistralConfig(sliding_window=attention.window, **values)


def _decoder(section: ModelSection) -> dict[str, Any]:
    """What all of these have in common."""
    return {
        "hidden_size": section.hidden_size,
        "intermediate_size": section.feed_forward_size,
        "num_hidden_layers": section.num_hidden_layers,
        "num_attention_heads": section.num_attention_heads,
        "num_key_value_heads": section.key_value_heads,
        "head_dim": section.hidden_size // section.num_attention_heads,
        "max_position_embeddings": section.max_position_embeddings,
        "tie_word_embeddings": section.tie_word_embeddings,
        "rms_norm_eps": section.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": section.rope_theta},
        "attention_dropout": section.dropout or 0.0,
        "use_cache": True,
    }


def _encoder(section: ModelSection) -> dict[str, Any]:
    dropout = section.dropout or 0.0
    return {
        "hidden_size": section.hidden_size,
        "intermediate_size": section.feed_forward_size,
        "num_hidden_layers": section.num_hidden_layers,
        "num_attention_heads": section.num_attention_heads,
        "max_position_embeddings": section.max_position_embeddings,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "classifier_dropout": dropout,
        "type_vocab_size": section.type_vocab_size,
    }


def _bert(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    return BertConfig(**_encoder(section), **shared)


def _electra(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    return ElectraConfig(
        embedding_size=section.embedding_size or section.hidden_size,
        summary_last_dropout=section.dropout or 0.0,
        **_encoder(section),
        **shared,
    )


def _modernbert(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    dropout = section.dropout or 0.0
    theta = {"rope_type": "default", "rope_theta": section.rope_theta}
    return ModernBertConfig(
        hidden_size=section.hidden_size,
        intermediate_size=section.feed_forward_size,
        num_hidden_layers=section.num_hidden_layers,
        num_attention_heads=section.num_attention_heads,
        max_position_embeddings=section.max_position_embeddings,
        local_attention=section.local_attention,
        global_attn_every_n_layers=section.global_attn_every_n_layers,
        rope_parameters={"full_attention": theta, "sliding_attention": theta},
        attention_dropout=dropout,
        embedding_dropout=dropout,
        mlp_dropout=dropout,
        classifier_dropout=dropout,
        **shared,
    )


def _xlnet(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    dropout = section.dropout or 0.0
    return XLNetConfig(
        d_model=section.hidden_size,
        d_inner=section.feed_forward_size,
        n_layer=section.num_hidden_layers,
        n_head=section.num_attention_heads,
        dropout=dropout,
        summary_last_dropout=dropout,
        **shared,
    )


def _t5(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    shared = {key: value for key, value in shared.items() if key != "initializer_range"}
    # The output layer is the embeddings, always: transformers writes nothing else for T5.
    return T5Config(
        d_model=section.hidden_size,
        d_kv=section.hidden_size // section.num_attention_heads,
        d_ff=section.feed_forward_size,
        num_layers=section.num_hidden_layers,
        num_decoder_layers=section.decoder_layers,
        num_heads=section.num_attention_heads,
        n_positions=section.max_position_embeddings,
        dropout_rate=section.dropout or 0.0,
        classifier_dropout=section.dropout or 0.0,
        decoder_start_token_id=shared["pad_token_id"],
        **shared,
    )


def _bart(section: ModelSection, shared: dict[str, Any]) -> PreTrainedConfig:
    shared = {key: value for key, value in shared.items() if key != "initializer_range"}
    dropout = section.dropout or 0.0
    return BartConfig(
        d_model=section.hidden_size,
        encoder_layers=section.num_hidden_layers,
        decoder_layers=section.decoder_layers,
        encoder_attention_heads=section.num_attention_heads,
        decoder_attention_heads=section.num_attention_heads,
        encoder_ffn_dim=section.feed_forward_size,
        decoder_ffn_dim=section.feed_forward_size,
        max_position_embeddings=section.max_position_embeddings,
        init_std=section.initializer_range,
        dropout=dropout,
        attention_dropout=dropout,
        activation_dropout=0.0,
        classifier_dropout=dropout,
        decoder_start_token_id=shared["eos_token_id"],
        forced_eos_token_id=None,
        **shared,
    )


_MAKERS = {
    "llama": _llama,
    "bert": _bert,
    "modernbert": _modernbert,
    "xlnet": _xlnet,
    "electra": _electra,
    "t5": _t5,
    "bart": _bart,
}
