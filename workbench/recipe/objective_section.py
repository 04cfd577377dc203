"""The objective and tuning sections: what the model learns to do, and which of its weights learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench.recipe.families import ALIGNMENT, OF_MODEL, TASKS, ObjectiveName
from workbench.recipe.section import Section


class ObjectiveSection(Section):
    """What the model learns to do."""

    name: ObjectiveName = Field(
        "clm",
        description="Pre-training: clm, mlm, plm, rtd, denoise. Alignment: sft, reward, dpo, ppo. "
        "Tasks: classification, regression, tagging, span_extraction.",
    )
    mlm_probability: float = Field(
        0.15, gt=0, lt=1, description="mlm, rtd: share of the tokens that are selected."
    )
    mask_replace_prob: float = Field(
        0.8, ge=0, le=1, description="mlm: share of the selected tokens that become the mask token."
    )
    random_replace_prob: float = Field(
        0.1, ge=0, le=1, description="mlm: share of the selected tokens that become a random token."
    )
    whole_word_mask: bool = Field(False, description="mlm, rtd: select all pieces of a word together.")
    next_sentence_prediction: bool = Field(
        False, description="mlm: rows are pairs of segments, and the model tells whether B follows A (bert)."
    )
    pseudo_perplexity_tokens: int = Field(
        128, ge=0, description="mlm: tokens masked one at a time in an evaluation; 0: no pseudo-perplexity."
    )
    plm_probability: float = Field(
        1 / 6, gt=0, lt=1, description="plm: share of the tokens that are predicted, the last in the order."
    )
    max_span_length: int = Field(
        5, ge=1, description="plm: longest span of neighbours that is predicted together."
    )
    discriminator_weight: float = Field(
        50.0, gt=0, description="rtd: weight of the discriminator's loss beside the generator's."
    )
    noise: Literal["spans", "infilling"] = Field(
        "spans",
        description="denoise: spans (T5: a sentinel for each, the target holds the spans) "
        "or infilling (BART: a mask for each, the target is the whole text).",
    )
    noise_density: float = Field(0.15, gt=0, lt=1, description="denoise: share of the tokens cut out.")
    mean_noise_span_length: float = Field(3.0, ge=1, description="denoise: mean length of a span in tokens.")

    completion_only_loss: bool = Field(
        True,
        description="sft: only what the assistant says is predicted, a completion or its turns of a "
        "conversation. Off: all tokens are.",
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> ObjectiveSection:
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError("mask_replace_prob and random_replace_prob are more than 1 together")
        return self

    @property
    def is_task(self) -> bool:
        """Whether it is trained on labelled records, not on running text."""
        return self.name in TASKS

    @property
    def reads_records(self) -> bool:
        """Whether it learns from records, and not from running text."""
        return self.is_task or self.name in ALIGNMENT

    @property
    def of_model(self) -> ObjectiveName:
        """The objective by which the model and its last layer are known."""
        return OF_MODEL.get(self.name, self.name)
