"""The recipes of a study's runs: what they share, and what differs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import RecipeError
from workbench.recipe import Recipe, load_mapping, validate
from workbench.recipe.load import merge
from workbench.scaling.shapes import Sized
from workbench.scaling.spec import RulesSection, StudySpec

if TYPE_CHECKING:
    from workbench.scaling.plan import PlannedRun

FITTING = ("clm", "mlm")
"""Objectives whose held-out loss is in nats a token, and whose models a rule of shapes makes."""
FAMILIES = ("llama", "bert", "modernbert")
DEFAULT_LENGTH = 2048
LOGGED = 200
"""Lines of metrics in a run, about."""


def base_mapping(spec: StudySpec) -> dict[str, Any]:
    """The recipe that all runs share, as a mapping. Raises `RecipeError`."""
    return merge(merge(Recipe().model_dump(mode="json"), load_mapping(spec.base)), spec.changes)


def base_recipe(spec: StudySpec, where: str) -> Recipe:
    """The same, checked. Raises `RecipeError` for what a study cannot be made of."""
    recipe = validate(base_mapping(spec), where)
    if recipe.model.model_name_or_path:
        raise RecipeError(
            "a study trains new models of many sizes, not one that exists",
            where="model.model_name_or_path",
            hint="leave it empty; model.tokenizer_name_or_path may name a tokenizer",
        )
    if recipe.objective.name not in FITTING or recipe.model.family not in FAMILIES:
        raise RecipeError(
            f"a study of {recipe.objective.name} with {recipe.model.family} cannot be planned",
            where=where,
            hint=f"objectives: {', '.join(FITTING)}; families: {', '.join(FAMILIES)}",
        )
    return recipe


def row_length(recipe: Recipe) -> int:
    """Tokens in a row."""
    return recipe.data.max_length or min(recipe.model.max_position_embeddings, DEFAULT_LENGTH)


def rows_in_a_micro_batch(recipe: Recipe, rules: RulesSection) -> int:
    """Rows of each process and micro-batch, so that a step reads `batch_tokens`. Raises `RecipeError`."""
    parts = recipe.training.gradient_accumulation_steps * recipe.data_ranks
    row = row_length(recipe) * parts
    if rules.batch_tokens % row or rules.batch_tokens < row:
        nearest = max(1, round(rules.batch_tokens / row)) * row
        raise RecipeError(
            f"rules.batch_tokens {rules.batch_tokens:,} is no multiple of {row:,}: rows of "
            f"{row_length(recipe):,} tokens{f' in {parts} parts' if parts > 1 else ''}",
            where="rules.batch_tokens",
            hint=f"rules.batch_tokens={nearest}",
        )
    return rules.batch_tokens // row


def learning_rate(rules: RulesSection, shape: Sized, tokens: float) -> float:
    """The peak learning rate of a shape that is trained on so many tokens, by the study's rule."""
    if rules.learning_rate_rule == "kaplan":
        return max(1e-5, 0.003239 - 0.0001395 * math.log(shape.non_embedding))
    rate = rules.learning_rate * (tokens / rules.at_tokens) ** rules.tokens_exponent
    if rules.learning_rate_rule == "width":
        rate *= (shape.hidden_size / rules.at_width) ** rules.width_exponent
    return float(rate)


def recipe_of(spec: StudySpec, base: Recipe, run: PlannedRun, folder: Path) -> Recipe:
    """The whole recipe of a planned run; `folder` is the study's, where its sums are."""
    mapping: dict[str, Any] = base.model_dump(mode="json")
    rules = spec.rules
    rows = rows_in_a_micro_batch(base, rules)
    eval_rows = math.ceil(rules.eval_tokens / row_length(base) / base.data_ranks)
    mapping = merge(
        mapping,
        {
            "run": {"name": run.name, "description": run.description},
            "model": run.shape,
            "training": {
                "max_steps": run.steps,
                "per_device_train_batch_size": rows,
                "per_device_eval_batch_size": rows,
                "max_eval_batches": math.ceil(eval_rows / rows),
                "learning_rate": run.learning_rate,
                "lr_scheduler_type": rules.lr_scheduler_type,
                "min_lr_ratio": rules.min_lr_ratio,
                "warmup_ratio": rules.warmup_ratio,
                "warmup_steps": None,
                "eval_steps": max(1, math.ceil(run.steps / rules.evaluations)),
                "logging_steps": max(1, run.steps // LOGGED),
                "load_best_model_at_end": False,
                "save_total_limit": 1,
                "sample_prompts": [],
            },
        },
    )
    if spec.arithmetic is not None:
        sums = {"path": str(folder / "sums-train.jsonl"), "weight": spec.arithmetic.weight}
        mapping["data"]["sources"] = [*mapping["data"]["sources"], sums]
    return validate(mapping, run.name)
