"""The sections of a recipe. Every field carries its help, shown by the form, the schema and the README."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

RUN_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class RunSection(Section):
    """What the run is called and who else hears of it."""

    name: str | None = Field(
        None,
        pattern=RUN_NAME_PATTERN,
        description="Name of the run and of its folder; made from the preset and a number when empty.",
    )
    description: str = Field("", description="A line for yourself: what this run is meant to find out.")
    report_to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(
        default_factory=list,
        description="Trackers that get the metrics too, through Accelerate. The run folder always does.",
    )


class ModelSection(Section):
    """An existing model, or the shape of a new one."""

    model_name_or_path: str | None = Field(
        None,
        description="A folder or hub name of a causal language model to start from. Empty: build a new one.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    tokenizer_name_or_path: str | None = Field(
        None,
        description="An existing tokenizer. Empty: the model's own, or, for a new model, "
        "a byte-level BPE trained on the data.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with a hub model. Only for authors you trust."
    )
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2", "flex_attention"] = Field(
        "sdpa", description="How attention is computed."
    )
    family: Literal["llama"] = Field("llama", description="Architecture of a new model: decoder-only Llama.")
    vocab_size: int = Field(
        4096, ge=260, le=1_000_000, description="Size of the vocabulary of a new tokenizer, and of the model."
    )
    hidden_size: int = Field(128, ge=8, description="Width of the residual stream.")
    intermediate_size: int | None = Field(
        None,
        ge=8,
        description="Width of the feed-forward layer. Empty: 8/3 of hidden_size, rounded up to 64.",
    )
    num_hidden_layers: int = Field(4, ge=1, description="Number of transformer layers.")
    num_attention_heads: int = Field(4, ge=1, description="Number of query heads; divides hidden_size.")
    num_key_value_heads: int | None = Field(
        None, ge=1, description="Number of key/value heads (GQA); divides num_attention_heads. Empty: all."
    )
    max_position_embeddings: int = Field(256, ge=8, description="Context length in tokens.")
    tie_word_embeddings: bool = Field(True, description="One matrix for input embeddings and output layer.")
    initializer_range: float = Field(0.02, gt=0, description="Standard deviation of the initial weights.")
    rope_theta: float = Field(10_000.0, gt=1, description="Base of the rotary position embedding.")
    rms_norm_eps: float = Field(1e-5, gt=0, description="Epsilon of the RMS normalisation.")

    @model_validator(mode="after")
    def _shapes_fit(self) -> ModelSection:
        if self.model_name_or_path:
            return self
        if self.hidden_size % self.num_attention_heads:
            near = [h for h in range(1, self.hidden_size + 1) if self.hidden_size % h == 0]
            best = min(near, key=lambda h: abs(h - self.num_attention_heads))
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads "
                f"{self.num_attention_heads}; {best} heads would fit"
            )
        if (self.hidden_size // self.num_attention_heads) % 2:
            raise ValueError(
                f"head size {self.hidden_size // self.num_attention_heads} "
                "(hidden_size / num_attention_heads) is odd; rotary embeddings need an even one"
            )
        if self.num_key_value_heads and self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not divisible by "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    @property
    def feed_forward_size(self) -> int:
        """`intermediate_size`, or its default: 8/3 of the hidden size, rounded up to a multiple of 64."""
        return self.intermediate_size or -(-self.hidden_size * 8 // 3 // 64) * 64

    @property
    def key_value_heads(self) -> int:
        """`num_key_value_heads`, or its default: as many as there are query heads."""
        return self.num_key_value_heads or self.num_attention_heads


class SourceSpec(Section):
    """One place that text comes from."""

    path: str = Field(
        description="A file, a glob, a folder, `stdlib:` (sources and docstrings of the running Python), "
        "or the name or folder of a Hugging Face data set."
    )
    weight: float = Field(
        1.0, gt=0, description="How often its documents are seen in an epoch: 2 is twice, 0.5 every other."
    )
    text_column: str = Field("text", description="The column that holds the text of a record.")
    config_name: str | None = Field(None, description="Configuration of a Hugging Face data set.")
    split: str = Field("train", description="Split of a Hugging Face data set.")
    limit: int | None = Field(None, ge=1, description="Read at most this many documents.")


def _sources(value: Any) -> Any:
    """Accept `a.txt`, `[a.txt, b.txt]` and `[{path: a.txt, weight: 2}]` alike."""
    if isinstance(value, (str, dict)):
        value = [value]
    return [_source(item) for item in value] if isinstance(value, list) else value


def _source(item: Any) -> Any:
    # YAML reads an unquoted `stdlib:` as a mapping with an empty value.
    word = "stdlib:" if item == {"stdlib": None} else item
    return {"path": word} if isinstance(word, str) else item


Sources = Annotated[list[SourceSpec], BeforeValidator(_sources)]


class DataSection(Section):
    """What is trained on, and how text becomes rows."""

    sources: Sources = Field(
        default_factory=lambda: [SourceSpec(path="stdlib:")],
        min_length=1,
        description="Where the text comes from; several are mixed by weight.",
    )
    eval_sources: Sources = Field(
        default_factory=list, description="Held-out text from its own sources. Empty: split from `sources`."
    )
    eval_fraction: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Share of the documents held out for evaluation; of the text where documents are few.",
    )
    max_length: int | None = Field(
        None, ge=8, description="Tokens in a row. Empty: the model's context length, at most 2,048."
    )
    packing: bool = Field(
        True, description="Fill rows with several documents. Off: one document, or piece of one, a row."
    )
    isolate_documents: bool = Field(
        True,
        description="In a packed row, no token attends to another document; positions start at 0 in each.",
    )
    shuffle: bool = Field(True, description="Another document order in each epoch, by the seed.")
    num_workers: int | None = Field(
        None, ge=1, description="Threads that tokenise. Empty: as many as the machine has cores."
    )


class ObjectiveSection(Section):
    """What the model learns to do."""

    name: Literal["clm"] = Field("clm", description="clm: causal language modelling, predict the next token.")


class TuningSection(Section):
    """Which weights learn."""

    method: Literal["full"] = Field("full", description="full: all weights are trained.")


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
    fp16: bool = Field(False, description="Mixed precision in float16 with loss scaling (CUDA only).")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a third slower."
    )
    torch_compile: bool = Field(False, description="Compile the model with torch.compile.")
    logging_steps: int = Field(1, ge=1, description="Steps between two lines of metrics.")
    eval_steps: int | None = Field(
        None, ge=1, description="Steps between evaluations. Empty: twenty in a run. At the end always."
    )
    max_eval_batches: int | None = Field(
        64, ge=1, description="Batches in an evaluation. Empty: all of them."
    )
    save_steps: int | None = Field(
        None, ge=1, description="Steps between checkpoints. Empty: ten in a run. At the end always."
    )
    save_total_limit: int | None = Field(
        2, ge=1, description="Checkpoints kept; the best and the newest always are. Empty: all."
    )
    load_best_model_at_end: bool = Field(
        True, description="final/ is the checkpoint with the lowest eval_loss, not the last one."
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


class LaunchSection(Section):
    """On what the run runs."""

    num_processes: int = Field(1, ge=1, description="Processes; more than one go through accelerate launch.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: the GPU if there is one, else the CPU."
    )
    num_threads: int | None = Field(
        None, ge=1, description="CPU threads of each process. Empty: the cores, shared among the processes."
    )


class Recipe(Section):
    """All of a run: enough to run it again."""

    run: RunSection = Field(default_factory=RunSection, description="Name and trackers.")
    model: ModelSection = Field(default_factory=ModelSection, description="The model.")
    data: DataSection = Field(default_factory=DataSection, description="The data.")
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection, description="The objective.")
    tuning: TuningSection = Field(default_factory=TuningSection, description="Which weights learn.")
    training: TrainingSection = Field(default_factory=TrainingSection, description="The optimisation.")
    launch: LaunchSection = Field(default_factory=LaunchSection, description="Processes and devices.")

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        length, context = self.data.max_length, self.model.max_position_embeddings
        if not self.model.model_name_or_path and length and length > context:
            raise ValueError(
                f"data.max_length {length} is longer than model.max_position_embeddings {context}; "
                "make the rows shorter or the context longer"
            )
        return self
