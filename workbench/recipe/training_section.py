"""The training section: the optimisation, and what happens along the way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench.recipe.section import Section


class TrainingSection(Section):
    """The optimisation, and what happens along the way."""

    seed: int = Field(42, ge=0, lt=2**32, description="Seed of everything random.")
    num_train_epochs: float = Field(1.0, gt=0, description="Passes over the data; max_steps goes before it.")
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps. Empty: from num_train_epochs.")
    per_device_train_batch_size: int = Field(8, ge=1, description="Rows in a micro-batch on each process.")
    per_device_eval_batch_size: int | None = Field(
        None, ge=1, description="Rows in an evaluation batch. Empty: as in training."
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="Micro-batches in an optimiser step.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    lr_scheduler_type: Literal["cosine", "linear", "constant", "wsd"] = Field(
        "cosine", description="Shape of the learning rate after warm-up; wsd: warm-up, stable, decay."
    )
    warmup_ratio: float = Field(0.0, ge=0, le=1, description="Share of the steps spent warming up.")
    warmup_steps: int | None = Field(None, ge=0, description="Steps of warm-up; goes before warmup_ratio.")
    decay_ratio: float = Field(0.2, gt=0, le=1, description="Share of the steps that wsd decays in.")
    min_lr_ratio: float = Field(
        0.1, ge=0, le=1, description="Learning rate at the end, as a share of the peak (cosine, linear, wsd)."
    )
    weight_decay: float = Field(0.1, ge=0, description="AdamW weight decay; norms and biases have none.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW β₁.")
    adam_beta2: float = Field(0.95, ge=0, lt=1, description="AdamW β₂.")
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW ε.")
    max_grad_norm: float = Field(1.0, ge=0, description="Clip the gradient to this norm; 0: never.")
    bf16: bool = Field(False, description="Mixed precision in bfloat16.")
    fp16: bool = Field(
        False, description="Mixed precision in float16, the loss scaled as far as gradients allow."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a third slower."
    )
    torch_compile: bool = Field(False, description="Compile the model with torch.compile.")
    logging_steps: int = Field(1, ge=1, description="Steps between two lines of metrics.")
    eval_steps: int | None = Field(
        None,
        ge=1,
        description="Steps between evaluations. Empty: twenty a run, fewer in a short one. One at the end.",
    )
    eval_on_start: bool = Field(False, description="Evaluate once before the first step.")
    max_eval_batches: int | None = Field(
        64, ge=1, description="Batches in an evaluation. Empty: all of them."
    )
    save_steps: int | None = Field(
        None,
        ge=1,
        description="Steps between checkpoints. Empty: ten in a run, a minute apart. One at the end.",
    )
    save_total_limit: int | None = Field(
        2, ge=1, description="Checkpoints kept; the best and the newest always are. Empty: all."
    )
    load_best_model_at_end: bool = Field(
        True, description="final/ is the best checkpoint by metric_for_best_model, not the last one."
    )
    metric_for_best_model: str = Field(
        "eval_loss",
        description="What decides which checkpoint is best: eval_loss (the lowest), or another metric of an "
        "evaluation such as accuracy or f1 (the highest).",
    )
    sample_prompts: list[str] = Field(
        default_factory=list, description="Prompts the model continues as training goes."
    )
    sample_steps: int | None = Field(None, ge=1, description="Steps between samples. Empty: as eval_steps.")
    sample_max_new_tokens: int = Field(48, ge=1, le=4096, description="Length of a sample in tokens.")

    @model_validator(mode="after")
    def _one_precision(self) -> TrainingSection:
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 are both on; choose one")
        return self
