"""A GGUF file, planned whole before a byte is written, so that what cannot be is said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import MissingExtraError, ModelError
from workbench.exporting.conversation import unmarked_end
from workbench.exporting.dtypes import Q8_0, converted
from workbench.installing import pip_install
from workbench.store.wire import Progress

try:
    import gguf
except ImportError:
    raise MissingExtraError("writing GGUF files needs the package gguf", hint=pip_install("gguf")) from None

from workbench.exporting.llama_cpp import metadata
from workbench.exporting.llama_cpp.architectures import (
    LLAMA,
    Architecture,
    architecture_of,
    arranged,
    gguf_name,
)
from workbench.exporting.llama_cpp.frame import Frame, frame_of
from workbench.exporting.llama_cpp.rope import FACTORS, Rope, rope_of
from workbench.exporting.llama_cpp.vocabulary import Vocabulary, vocabulary_of

if TYPE_CHECKING:
    from workbench.exporting.source import Source

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    Q8_0: gguf.GGMLQuantizationType.Q8_0,
}
BLOCK = 32
"""Numbers of a row that share a scale in Q8_0."""


@dataclass
class Plan:
    """All that goes into a file. `names` gives llama.cpp's name for each weight that is wanted."""

    source: Source
    tokenizer: Any
    dtype: str
    architecture: Architecture
    rope: Rope
    vocabulary: Vocabulary
    frame: Frame
    context: int
    names: dict[str, str]
    notes: list[str]

    @property
    def rows(self) -> int:
        """Rows of the embeddings."""
        return self.source.tensors.shape("model.embed_tokens.weight")[0]

    def configs(self) -> list[Any]:
        """What says how an answer ends, beside the tokenizer."""
        return [self.source.generation, self.source.config]

    def write(self, path: Path, progress: Progress) -> list[str]:
        """Write the file, a tensor at a time; returns notes. Raises `OSError` where the disk refuses, and
        `ModelError` for numbers that do not fit."""
        writer = gguf.GGUFWriter(path, self.architecture.name)
        try:
            self._add_metadata(writer)
            self._add_infos(writer)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for number, (name, wanted) in enumerate(self.names.items()):
                progress("writing weights", number, len(self.names))
                writer.write_tensor_data(self._numbers(name, wanted))
            if self.rope.factors is not None:
                writer.write_tensor_data(self.rope.factors.numpy())
            writer.flush()
        finally:
            writer.close()
        return self.notes

    def _add_metadata(self, writer: Any) -> None:
        config = self.source.config
        metadata.add_general(writer, self.source, self.dtype)
        metadata.add_shape(writer, config, self.architecture, self.rope, self.context, self.rows)
        metadata.add_tokenizer(writer, self.tokenizer, self.vocabulary, self.configs(), self.frame)

    def _add_infos(self, writer: Any) -> None:
        for name, wanted in self.names.items():
            shape = self.source.tensors.shape(name)
            kind = TYPES[self._dtype_of(shape)]
            size = gguf.quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(wanted, shape, np.dtype(np.float32), int(np.prod(size)), raw_dtype=kind)
        if self.rope.factors is not None:
            factors = self.rope.factors.numpy()
            writer.add_tensor_info(FACTORS, factors.shape, factors.dtype, factors.nbytes)

    def _dtype_of(self, shape: tuple[int, ...]) -> str:
        """Vectors stay fp32, as llama.cpp wants them; rows that are no whole blocks cannot be quantized."""
        if len(shape) == 1:
            return "f32"
        return "f16" if self.dtype == Q8_0 and shape[-1] % BLOCK else self.dtype

    def _numbers(self, name: str, wanted: str) -> np.ndarray[Any, Any]:
        tensor = self.source.tensors.get(name)
        tensor = arranged(wanted, tensor, self.architecture, self.source.config)
        dtype = self._dtype_of(tuple(tensor.shape))
        if dtype == "f16":
            tensor = converted(tensor, "f16", name)
        found: np.ndarray[Any, Any] = gguf.quantize(tensor.to(torch.float32).numpy(), TYPES[dtype])
        return found


def plan(source: Source, tokenizer: Any, dtype: str) -> Plan:
    """Check everything. Raises `ModelError` for what llama.cpp does not run, or would run otherwise."""
    where, config = str(source.folder), source.config
    architecture = architecture_of(source.architecture, config, where)
    if tokenizer is None:
        raise ModelError("the model has no tokenizer beside it, and a GGUF file holds both", where=where)
    rope = rope_of(config, architecture, where)
    tied = bool(config.tie_word_embeddings)
    found = {name: gguf_name(name, architecture, tied=tied, where=where) for name in source.tensors.names()}
    names = {name: wanted for name, wanted in found.items() if wanted is not None}
    if "model.embed_tokens.weight" not in names or (not tied and "lm_head.weight" not in names):
        raise ModelError("the model lacks its embeddings or its last layer", where=where)
    rows = source.tensors.shape("model.embed_tokens.weight")[0]
    vocabulary = vocabulary_of(tokenizer, rows, str(source.tokenizer_folder))
    frame = frame_of(tokenizer, str(source.tokenizer_folder))
    context, notes = _context(config, architecture)
    if dtype == Q8_0 and any(source.tensors.shape(name)[-1] % BLOCK for name in names):
        notes.append(f"weights whose rows are no multiple of {BLOCK} are f16, which q8_0 cannot hold")
    notes += [*rope.notes, *vocabulary.notes, *frame.notes, *unmarked_end(tokenizer)]
    return Plan(source, tokenizer, dtype, architecture, rope, vocabulary, frame, context, names, notes)


def _context(config: Any, architecture: Architecture) -> tuple[int, list[str]]:
    """Tokens at most. llama.cpp's Llama sees everything where Mistral sees a window: the same up to there."""
    longest = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    if architecture is LLAMA and window and window < longest:
        return int(window), [
            f"the context is the window of {window:,} tokens, beyond which llama.cpp sees more"
        ]
    return longest, []
