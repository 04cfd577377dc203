"""Llama with sparse or linear attention, as classes of transformers.

B rows, L tokens, H heads of queries, G of keys, d the size of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from workbench.models.attention.attend import NAME, attend, register_attention
from workbench.models.attention.caches import LinearStateLayer
from workbench.models.attention.configuration import WorkbenchLlamaConfig
from workbench.models.attention.documents import documents_of
from workbench.ops.linear_attention import linear_attention


class WorkbenchLlamaAttention(LlamaAttention):  # type: ignore[misc]
    """A layer's attention by the configuration's pattern, or by sums."""

    def __init__(self, config: WorkbenchLlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.pattern = config.pattern
        self.is_linear = config.is_linear
        if config.is_linear and config.attention_dropout:
            raise ValueError("linear attention has no probabilities to drop: attention_dropout must be 0")
        if config.qk_norm:
            self.q_norm = LlamaRMSNorm(self.head_dim, eps=config.rms_norm_eps)
            self.k_norm = LlamaRMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.qk_norm = config.qk_norm

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        position_ids: Tensor | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """[B, L, D] of hidden states [B, L, D]; `attention_mask` [B, T] is False at padding."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query, key = self.q_proj(hidden_states).view(shape), self.k_proj(hidden_states).view(shape)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        if self.qk_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        cos, sin = position_embeddings
        if self.is_linear:
            found = self._linear(query, key, value, cos, sin, attention_mask, past_key_values, position_ids)
        else:
            query, key = apply_rotary_pos_emb(query, key, cos, sin)
            if past_key_values is not None:
                key, value = past_key_values.update(key, value, self.layer_idx)
            found = attend(
                query,
                key,
                value,
                self.pattern,
                mask=attention_mask,
                position_ids=position_ids,
                scale=self.scaling,
                dropout=self.attention_dropout if self.training else 0.0,
            )
        output: Tensor = self.o_proj(found.transpose(1, 2).reshape(*hidden_states.shape[:-1], -1))
        return output, None

    def _linear(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        cache: Any,
        position_ids: Tensor | None,
    ) -> Tensor:
        batch, _, length, _ = query.shape
        if mask is not None and mask.dim() != 2:
            raise ValueError("linear attention takes a mask of tokens [B, T], not one of pairs")
        kept: Any = None
        if cache is not None:
            kept = cache.layers[self.layer_idx] if self.layer_idx < len(cache.layers) else None
            if not isinstance(kept, LinearStateLayer):
                raise ValueError(
                    "linear attention keeps sums, not keys and values: "
                    "its cache is DynamicCache(config=model.config)"
                )
        state = kept.state if kept is not None else None
        # Of rows that go on, positions say nothing of documents.
        documents = documents_of(
            None if mask is None else mask[:, -length:], None if state else position_ids, batch, length
        )
        with torch.autocast(query.device.type, enabled=False):
            output, after = linear_attention(query, key, value, cos, sin, documents=documents, state=state)
        if kept is not None:
            kept.keep(after, length)
        return output.to(value.dtype)


class WorkbenchLlamaDecoderLayer(LlamaDecoderLayer):  # type: ignore[misc]
    """A layer of Llama with that attention."""

    def __init__(self, config: WorkbenchLlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.self_attn = WorkbenchLlamaAttention(config, layer_idx)


class WorkbenchLlamaPreTrainedModel(LlamaPreTrainedModel):  # type: ignore[misc]
    """What all of them have in common."""

    config: WorkbenchLlamaConfig
    config_class = WorkbenchLlamaConfig
    _no_split_modules = ("WorkbenchLlamaDecoderLayer",)
    _supports_flash_attn = False
    _supports_flex_attn = False
    _supports_attention_backend = False
    _can_compile_fullgraph = False
    _can_record_outputs = {"hidden_states": WorkbenchLlamaDecoderLayer}  # noqa: RUF012

    def _check_and_adjust_attn_implementation(self, *args: Any, **options: Any) -> str:
        """Its own, whatever is asked for: no other computes the same."""
        register_attention()
        return NAME


class WorkbenchLlamaModel(WorkbenchLlamaPreTrainedModel, LlamaModel):  # type: ignore[misc]
    """The layers, without a head."""

    def __init__(self, config: WorkbenchLlamaConfig) -> None:
        super(LlamaModel, self).__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(
            WorkbenchLlamaDecoderLayer(config, number) for number in range(config.num_hidden_layers)
        )
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()


class WorkbenchLlamaForCausalLM(WorkbenchLlamaPreTrainedModel, LlamaForCausalLM):  # type: ignore[misc]
    """With the head of a language model."""

    def __init__(self, config: WorkbenchLlamaConfig) -> None:
        super(LlamaForCausalLM, self).__init__(config)
        self.model = WorkbenchLlamaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class WorkbenchLlamaForSequenceClassification(
    GenericForSequenceClassification,  # type: ignore[misc]
    WorkbenchLlamaPreTrainedModel,
):
    """With a head for scores or labels, as reward models have."""
