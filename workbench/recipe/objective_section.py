"""The objective and tuning sections: what the model learns to do, and which of its weights learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench.recipe.data_section import Sources
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

    ranking_loss: Literal["pairwise", "plackett_luce"] = Field(
        "pairwise",
        description="reward: the loss of a ranking, the mean over all its pairs or the likelihood of its "
        "whole order; the same for two answers.",
    )
    ties: Literal["omit", "half"] = Field(
        "omit", description="reward: tied pairs are left out, or count as half a win for either (pairwise)."
    )
    center_rewards_coefficient: float = Field(
        0.0,
        ge=0,
        description="reward: weight of the squared sum of a pair's rewards, which keeps them around 0 "
        "(pairwise); 0.01 is usual.",
    )
    shuffle_pairs: bool = Field(
        False,
        description="reward: pairs of a ranking are rows of their own, anywhere in the epoch, for "
        "comparison: each answer is then read k − 1 times as often, and overfits sooner.",
    )
    reference_sources: Sources = Field(
        default_factory=list,
        description="reward: answers written by people (conversations, or prompts with completions), which "
        "score 0 on average in what is saved. Empty: scores have no zero of their own.",
    )

    loss_type: Literal["sigmoid", "hinge", "ipo", "robust", "sigmoid_norm"] = Field(
        "sigmoid",
        description="dpo: the loss of a pair; sigmoid is DPO's own, sigmoid_norm the same per token, robust "
        "for preferences of which a share label_smoothing is the wrong way round.",
    )
    beta: float = Field(
        0.1, gt=0, description="dpo: how dear it is to leave the reference; less lets the policy go further."
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="dpo: how often a preference is taken to be the wrong way round (sigmoid, sigmoid_norm, "
        "robust).",
    )
    nll_coefficient: float = Field(
        0.0,
        ge=0,
        description="dpo: weight of −log π per token of the chosen answer; above 0 keeps it from growing "
        "unlikely.",
    )
    pairs: Literal["all", "best_worst", "adjacent"] = Field(
        "all",
        description="dpo: which pairs of a ranking: all, the best against the worst, or each rank against "
        "the next.",
    )
    precompute_ref_log_probs: bool = Field(
        True,
        description="dpo: compute what the reference says once, before the first step, and keep it in the "
        "cache. Off: the reference stays in memory and is computed at every step.",
    )
    ref_model_name_or_path: str | None = Field(
        None, description="dpo: the reference. Empty: the model as it is before the first step."
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> ObjectiveSection:
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError("mask_replace_prob and random_replace_prob are more than 1 together")
        if self.ranking_loss == "plackett_luce" and (self.ties == "half" or self.center_rewards_coefficient):
            raise ValueError(
                "ties: half and center_rewards_coefficient are of pairs; with ranking_loss plackett_luce "
                "leave them out"
            )
        if self.label_smoothing and self.loss_type in ("hinge", "ipo"):
            raise ValueError(
                f"loss_type {self.loss_type} has no label_smoothing; leave it at 0, or take sigmoid, "
                "sigmoid_norm or robust"
            )
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
    def is_without_dropout(self) -> bool:
        """Whether models must answer the same twice: where a model is compared with another, or with what it
        was, dropout would be most of the difference."""
        return self.name in ("reward", "dpo", "ppo")

    @property
    def of_model(self) -> ObjectiveName:
        """The objective by which the model and its last layer are known."""
        return OF_MODEL.get(self.name, self.name)
