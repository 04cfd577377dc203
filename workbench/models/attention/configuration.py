"""The configuration of a decoder whose attention is none of transformers' own."""

from __future__ import annotations

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig

from workbench.ops.sparse_attention.pattern import Pattern

MODEL_TYPE = "workbench_llama"
"""Unknown to transformers, so that without the workbench it refuses such a folder instead of computing
something else."""
LINEAR_LAYER = "workbench_linear"
"""What caches of transformers call a layer that keeps a sum instead of keys and values."""

Kind = Literal["window_global", "strided", "linear"]


@strict
class WorkbenchLlamaConfig(LlamaConfig):  # type: ignore[misc]
    """Llama with another attention in every layer.

    `attention_kind` is a window and the first tokens of each document (window_global), a window and every
    `attention_stride`-th token (strided), or a kernel (linear; Katharopoulos et al. 2020). `qk_norm`
    normalises queries and keys head by head, as Qwen 3 does.
    """

    model_type = MODEL_TYPE
    base_model_tp_plan = {  # noqa: RUF012
        **LlamaConfig.base_model_tp_plan,
        # Each rank has its own heads: the gradient of what is the same for all of them is the sum.
        "layers.*.self_attn.q_norm": "replicated_with_grad_allreduce",
        "layers.*.self_attn.k_norm": "replicated_with_grad_allreduce",
    }

    attention_kind: str = "window_global"
    attention_window: int | None = 256
    global_tokens: int = 4
    attention_stride: int | None = None
    qk_norm: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether there is no softmax."""
        return self.attention_kind == "linear"

    @property
    def pattern(self) -> Pattern:
        """Who sees whom."""
        if self.is_linear:
            return Pattern()
        if self.attention_kind == "strided":
            return Pattern(self.attention_window, 0, self.attention_stride)
        return Pattern(self.attention_window, self.global_tokens)

    @property
    def layer_types(self) -> list[str]:
        """What a cache keeps of each layer. Not written: it follows from the kind."""
        return [LINEAR_LAYER if self.is_linear else "full_attention"] * self.num_hidden_layers

    def validate_layer_type(self) -> None:
        """Nothing: they are not what a file says."""

    def validate_architecture(self) -> None:
        """Raise `ValueError` for kinds, windows and strides that are none."""
        super().validate_architecture()
        if self.attention_kind not in ("window_global", "strided", "linear"):
            raise ValueError(f"attention_kind is {self.attention_kind}, not window_global, strided or linear")
        if self.is_linear:
            return
        numbers = [self.attention_window]
        numbers += [self.attention_stride] if self.attention_kind == "strided" else []
        if any(number is None or number < 1 for number in numbers) or self.global_tokens < 0:
            raise ValueError("attention_window, attention_stride and global_tokens must be numbers above 0")
