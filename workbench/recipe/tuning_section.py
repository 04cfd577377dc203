"""The tuning section: which weights learn, and what soft prompts and adapters are like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.recipe.section import Section

SOFT_PROMPTS = ("prompt", "prefix")
"""Methods that put learned vectors before the text and leave the model as it is."""

KEYS = {
    "prompt": ("num_virtual_tokens", "prompt_tuning_init", "prompt_tuning_init_text"),
    "prefix": (
        *("num_virtual_tokens", "prompt_tuning_init", "prompt_tuning_init_text"),
        *("prefix_projection", "encoder_hidden_size"),
    ),
    "lora": ("r", "lora_alpha", "lora_dropout", "target_modules"),
}
"""The keys that mean something to each method; the others know none."""


class TuningSection(Section):
    """Which weights learn."""

    method: Literal["full", "frozen", "lora", "prompt", "prefix"] = Field(
        "full",
        description="full: all weights; frozen: only the new last layer, the encoder stays as it is; "
        "lora: low-rank adapters, and the new last layer; prompt: vectors before the input; "
        "prefix: keys and values before those of every layer.",
    )
    r: int = Field(8, ge=1, description="lora: rank.")
    lora_alpha: int = Field(16, ge=1, description="lora: scale; updates are multiplied by lora_alpha/r.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="lora: dropout before the adapter.")
    target_modules: list[str] = Field(
        default_factory=list, description="lora: names of the layers adapted. Empty: every linear one."
    )
    num_virtual_tokens: int = Field(20, ge=1, description="prompt, prefix: how many tokens are learned.")
    prompt_tuning_init: Literal["TEXT", "SAMPLE_VOCAB", "RANDOM"] | None = Field(
        None,
        description="prompt, prefix: what they begin as: a text, random tokens of the vocabulary, or noise. "
        "Empty: TEXT where there is one, else SAMPLE_VOCAB (RANDOM for the prefix of an encoder–decoder).",
    )
    prompt_tuning_init_text: str | None = Field(
        None, description="prompt, prefix: the text of TEXT, repeated or cut to num_virtual_tokens."
    )
    prefix_projection: bool = Field(
        False,
        description="prefix: learn it through two layers with a tanh between, folded away when saved.",
    )
    encoder_hidden_size: int | None = Field(
        None, ge=1, description="prefix: width between those two layers. Empty: that of the prefix's tokens."
    )

    @model_validator(mode="after")
    def _keys_belong(self) -> TuningSection:
        own = KEYS.get(self.method, ())
        others = {key for keys in KEYS.values() for key in keys if key not in own}
        # Methods without keys of their own always let those of lora stand.
        others -= set() if self.is_soft_prompt else set(KEYS["lora"])
        fields = type(self).model_fields
        for key in sorted(others):
            if getattr(self, key) != fields[key].get_default(call_default_factory=True):
                methods = " or ".join(method for method, keys in KEYS.items() if key in keys)
                raise ValueError(f"{key} belongs to method {methods}, not to {self.method}")
        if self.is_soft_prompt:
            self._check_initialisation()
        return self

    def _check_initialisation(self) -> None:
        blank = not (self.prompt_tuning_init_text or "").strip()
        if self.prompt_tuning_init == "TEXT" and blank:
            raise ValueError("prompt_tuning_init TEXT needs the text: prompt_tuning_init_text")
        if self.prompt_tuning_init in ("SAMPLE_VOCAB", "RANDOM") and not blank:
            raise ValueError(
                f"prompt_tuning_init_text is not used by prompt_tuning_init {self.prompt_tuning_init}; "
                "make it TEXT, or leave the text out"
            )
        if self.encoder_hidden_size is not None and not self.prefix_projection:
            raise ValueError("encoder_hidden_size is the width of the projection: prefix_projection=true")

    @property
    def is_soft_prompt(self) -> bool:
        """Whether what learns stands before the text."""
        return self.method in SOFT_PROMPTS

    @property
    def is_adapter(self) -> bool:
        """Whether what learns is saved beside the model, in PEFT's format, and not with it."""
        return self.method == "lora" or self.is_soft_prompt

    @property
    def virtual_tokens(self) -> int:
        """How many places of the context what learns takes."""
        return self.num_virtual_tokens if self.is_soft_prompt else 0


def check_tuning(recipe: Any) -> None:
    """Raise `ValueError` where the method does not fit the rest of a recipe."""
    tuning, objective, section = recipe.tuning, recipe.objective, recipe.model
    method = tuning.method
    if method == "frozen" and not (objective.is_task or objective.name == "reward"):
        raise ValueError("tuning.method frozen trains a new last layer; only tasks and reward have one")
    if tuning.is_adapter and not section.model_name_or_path:
        raise ValueError(
            f"tuning.method {method} adapts an existing model: name one as model.model_name_or_path"
        )
    if objective.name == "dpo" and not section.model_name_or_path:
        raise ValueError("dpo learns from a model that writes already: name one as model.model_name_or_path")
    if objective.name == "dpo" and tuning.lora_dropout:
        raise ValueError(
            "dpo compares the model with itself, and dropout would be most of the difference: set "
            "tuning.lora_dropout=0"
        )
    if not tuning.is_soft_prompt:
        return
    if objective.name == "dpo":
        raise ValueError(
            f"dpo computes several answers behind one prompt, and tuning.method {method} puts virtual tokens "
            "before each; use lora or full"
        )
    if objective.of_model not in ("clm", "denoise"):
        raise ValueError(
            f"tuning.method {method} steers what a decoder writes (clm, sft, denoise), and {objective.name} "
            "writes nothing; use lora, frozen or full"
        )
    if recipe.data.packing:
        raise ValueError(
            f"tuning.method {method} puts {tuning.num_virtual_tokens} virtual tokens before a row, and later "
            "documents of a packed one would not see them: set data.packing=false"
        )
    if objective.name == "denoise" and method == "prefix":
        if tuning.prompt_tuning_init in ("TEXT", "SAMPLE_VOCAB") or tuning.prompt_tuning_init_text:
            raise ValueError("the prefix of an encoder–decoder begins as noise: prompt_tuning_init=RANDOM")
        if recipe.training.gradient_checkpointing:
            raise ValueError(
                "the prefix of an encoder–decoder goes through its cache, which gradient checkpointing "
                "cannot use: set training.gradient_checkpointing=false"
            )
