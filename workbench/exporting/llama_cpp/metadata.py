"""What a GGUF file says beside its weights: the model's shape, its tokenizer, where it is from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType, RopeScalingType, size_label

from workbench.data import turn_ends
from workbench.exporting.llama_cpp.architectures import heads_of
from workbench.exporting.llama_cpp.template import portable_template

if TYPE_CHECKING:
    from workbench.exporting.llama_cpp.architectures import Architecture
    from workbench.exporting.llama_cpp.frame import Frame
    from workbench.exporting.llama_cpp.rope import Rope
    from workbench.exporting.llama_cpp.vocabulary import Vocabulary
    from workbench.exporting.source import Source

FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}
SCALING = {"linear": RopeScalingType.LINEAR, "yarn": RopeScalingType.YARN}


def add_general(writer: GGUFWriter, source: Source, dtype: str) -> None:
    """Its name, size, number format, and the model that it began with."""
    writer.add_type("model")
    writer.add_name(source.name)
    writer.add_size_label(size_label(source.parameters, source.parameters, 0, 0))
    if source.base is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, source.base)
    writer.add_file_type(FILE_TYPES[dtype])
    writer.add_quantization_version(GGML_QUANT_VERSION)


def add_shape(
    writer: GGUFWriter, config: Any, architecture: Architecture, rope: Rope, context: int, rows: int
) -> None:
    """Everything that llama.cpp builds the model from."""
    heads, groups, size = heads_of(config)
    writer.add_vocab_size(rows)
    writer.add_context_length(context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(rope.theta)
    for key, value in rope.scaling.items():
        name = f"{architecture.name}.rope.scaling.{key}"
        if key == "type":
            writer.add_rope_scaling_type(SCALING[value])
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_float32(name, value)


def add_tokenizer(
    writer: GGUFWriter, tokenizer: Any, vocabulary: Vocabulary, configs: list[Any], frame: Frame
) -> None:
    """Pieces, roles, and the chat template."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    writer.add_add_space_prefix(vocabulary.space_first)
    writer.add_add_bos_token(frame.bos)
    writer.add_add_eos_token(frame.eos)
    roles = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "sep": writer.add_sep_token_id,
        "pad": writer.add_pad_token_id,
        "mask": writer.add_mask_token_id,
    }
    ends = turn_ends.end_tokens(tokenizer, configs)
    for role, add in roles.items():
        token = getattr(tokenizer, f"{role}_token_id", None)
        if role == "eos" and token is None and ends:
            token = ends[0]
        if token is not None:
            add(int(token))
    turns = list(turn_ends.ends_of_turn(tokenizer).values())
    if turns:
        writer.add_eot_token_id(turns[0])
    if template := portable_template(tokenizer):
        writer.add_chat_template(template)
