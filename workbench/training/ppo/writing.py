"""Writing the answers of a rollout: what a writer is given and gives back, and which one a model gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from workbench.errors import ModelError, RecipeError
from workbench.models.live_decoder import why_not_live
from workbench.models.rope_scaling import is_moving
from workbench.objectives.places import bare
from workbench.ops.decode import choose
from workbench.training.ppo.answers import Answer, Manner, Told
from workbench.training.ppo.cached_writer import CachedWriter
from workbench.training.ppo.native_writer import NativeWriter

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.recipe import Recipe


class Writer(Protocol):
    """Writes answers with the weights as they are when it is asked."""

    name: str

    def write(
        self, prompts: Sequence[Sequence[int]], samples: int, chances: Tensor, told: Told
    ) -> list[Answer]:
        """`samples` answers to each prompt, one prompt after another; `chances` as `uniforms` makes them."""
        ...


def writer_of(model: Any, recipe: Recipe, manner: Manner, positions: int) -> Writer:
    """The recipe's writer for a model; `positions` bounds a prompt with its answer. Raises `RecipeError`
    where the native one is asked for and cannot be had."""
    if is_moving(bare(model).config):
        raise ModelError(
            "answers are written with cached keys, and with dynamic NTK their angles change with every token",
            where="model.rope_scaling",
            hint="linear, ntk and yarn have the same angles at every length",
        )
    wanted = recipe.ppo.rollout_engine
    dtype = torch.bfloat16 if recipe.training.bf16 else torch.float32
    reason = "transformers was asked for"
    if wanted != "transformers":
        reason = why_not_live(model) or _not_here(model) or ""
        if not reason:
            native = NativeWriter(model, manner, positions, dtype)
            choice = choose(native.decoder.weights())
            if choice.native:
                return native
            reason = choice.reason
        if wanted == "native":
            raise RecipeError(
                f"the native decoder cannot write the answers: {reason}",
                where="ppo.rollout_engine",
                hint="ppo.rollout_engine=auto takes transformers where it must",
            )
    return CachedWriter(model, manner, recipe.training.bf16, reason)


def _not_here(model: Any) -> str | None:
    device = next(model.parameters()).device
    return None if device.type == "cpu" else f"the model is on {device}"
