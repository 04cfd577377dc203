"""The model a run begins or goes on with, and how long its rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.models.adapt import adapt
from workbench.models.build import build_model
from workbench.models.frame import without_weights
from workbench.models.load import load_frame, load_model
from workbench.models.purpose import Purpose
from workbench.models.rope_scaling_dynamic import use_exact_dynamic

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from workbench.recipe import Recipe

MAX_DEFAULT_LENGTH = 2048
AS_IT_IS: dict[str, Any] = {
    "revision": None,
    **dict.fromkeys(("rope_scaling", "rope_factor", "original_max_position_embeddings")),
    **dict.fromkeys(("rope_beta_fast", "rope_beta_slow", "rope_attention_factor")),
}
"""What the recipe says of its own model and not of another that is opened in its place."""
ASK_WEIGHTS = ("dpo", "reward")
"""Objectives that find out by the weights how a batch is computed; a run goes on as it began."""


def purpose_of(recipe: Recipe, labels: tuple[str, ...] = ()) -> Purpose:
    """What a recipe's model is for; `labels` are those found in the data."""
    section = recipe.objective
    return Purpose(section.of_model, labels, section.next_sentence_prediction and section.name == "mlm")


def starting_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, purpose: Purpose, checkpoint: Path | None
) -> nn.Module:
    """A new model, the one the recipe names, or the one of a checkpoint, with adapters where it says so.

    Weights of a new model are drawn on the CPU, so that they are the same on every device.
    """
    section = recipe.model
    if recipe.objective.is_without_dropout:
        section = section.model_copy(update={"dropout": 0.0})
    adapters = recipe.tuning.is_adapter
    if checkpoint is not None and not adapters:
        # What a checkpoint's positions are stretched by stands in its own configuration.
        section = section.model_copy(update={"model_name_or_path": str(checkpoint), **AS_IT_IS})
    if section.model_name_or_path is None:
        model: Any = build_model(section, tokenizer, purpose)
    else:
        model = load_model(section, purpose, complete=checkpoint is not None and not adapters)
        _check_vocabulary(model, tokenizer, recipe)
    use_exact_dynamic(model, tokenizer.pad_token_id or 0)
    return adapt(model, recipe.tuning, purpose, checkpoint if adapters else None, tokenizer)


def starting_frame(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, purpose: Purpose) -> nn.Module | None:
    """What `starting_model` gives where there is no checkpoint, but without its weights, which are neither
    drawn nor read: all of them come from elsewhere. None where some do not, or where what follows from the
    weights must be known."""
    if recipe.tuning.method != "full" or recipe.objective.name in ASK_WEIGHTS:
        return None
    section = recipe.model
    if recipe.objective.is_without_dropout:
        section = section.model_copy(update={"dropout": 0.0})
    if section.model_name_or_path is None:
        with without_weights():
            model: Any = build_model(section, tokenizer, purpose)
    else:
        model = load_frame(section, purpose)
        if model is None:
            return None
        _check_vocabulary(model, tokenizer, recipe)
    use_exact_dynamic(model, tokenizer.pad_token_id or 0)
    return model  # type: ignore[no-any-return]


def other_model(recipe: Recipe, name: str, purpose: Purpose) -> nn.Module:
    """Another model that the recipe names, as it is, without dropout."""
    section = recipe.model.model_copy(update={"model_name_or_path": name, "dropout": 0.0, **AS_IT_IS})
    model: Any = load_model(section, purpose)
    return model  # type: ignore[no-any-return]


def _check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"the tokenizer has {len(tokenizer):,} entries, the model's vocabulary only {vocabulary:,}",
            where=recipe.model.tokenizer_name_or_path or recipe.model.model_name_or_path or "",
            hint="leave model.tokenizer_name_or_path empty to use the model's own",
        )


def row_length(recipe: Recipe, context: int | None) -> int:
    """Tokens in a row: the recipe's, or the model's context up to 2,048, or all of a context that is
    stretched; None is a context without end. Virtual tokens of a soft prompt take their places from the
    context, not from the row.

    Raises `ModelError` where the context has no room for them or for the row.
    """
    section, virtual = recipe.data, recipe.tuning.virtual_tokens
    if context is None:
        return section.max_length or min(recipe.model.max_position_embeddings, MAX_DEFAULT_LENGTH)
    room = context - virtual
    if virtual and room < 1:
        raise ModelError(
            f"tuning.num_virtual_tokens {virtual:,} leaves no room in the model's context of "
            f"{context:,} tokens",
            hint="use fewer virtual tokens",
        )
    # Who stretches a context wants to train all of it.
    length = section.max_length or (room if recipe.model.rope_extension else min(room, MAX_DEFAULT_LENGTH))
    if length > room:
        both = f" and tuning.num_virtual_tokens {virtual:,} are together" if virtual else " is"
        raise ModelError(
            f"data.max_length {length:,}{both} longer than the model's context of {context:,} tokens",
            hint=f"set data.max_length to at most {room}",
        )
    return length
