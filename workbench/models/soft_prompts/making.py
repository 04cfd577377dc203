"""A model with a soft prompt that learns, new or as a checkpoint holds it, in PEFT's classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import ModelError
from workbench.models.soft_prompts.initial import embeddings_of, initial_tokens, prefix_of
from workbench.models.soft_prompts.saving import load_into

if TYPE_CHECKING:
    from workbench.recipe import TuningSection


def with_soft_prompt(
    model: Any, tuning: TuningSection, task_type: str, tokenizer: Any, checkpoint: Path | None = None
) -> Any:
    """Put virtual tokens before a model's input (Lester et al. 2021) or keys and values before those of its
    layers (Li & Liang 2021); they are in fp32, whatever the model is in, and nothing else learns.

    The configuration that is saved says RANDOM, for what the prompt began as is no longer in it, and PEFT
    would look for a tokenizer to begin it anew. Raises `ModelError` for what does not fit.
    """
    from peft import get_peft_model

    if task_type not in ("CAUSAL_LM", "SEQ_2_SEQ_LM"):
        raise ModelError(
            f"a soft prompt steers what a decoder writes, and {type(model).__name__} is none",
            where="tuning.method",
            hint="use lora, frozen or full",
        )
    projected = tuning.prefix_projection and (checkpoint is None or _has_projection(checkpoint))
    config = _config(tuning, task_type, projected)
    revision = getattr(model.config, "_commit_hash", None)
    wrapped: Any = get_peft_model(model, config, **({"revision": revision} if revision else {}))
    encoder = wrapped.prompt_encoder[wrapped.active_adapter]
    encoder.float()
    if checkpoint is not None:
        load_into(encoder, checkpoint)
    else:
        _begin(encoder, wrapped, tuning, tokenizer, projected)
    return _by_operator(wrapped) if tuning.method == "prefix" else wrapped


def _config(tuning: TuningSection, task_type: str, projected: bool) -> Any:
    from peft import PrefixTuningConfig, PromptTuningConfig

    if tuning.method == "prompt":
        # Of an encoder–decoder PEFT would learn as many again for the decoder, and never read them.
        return PromptTuningConfig(
            task_type=task_type,
            num_virtual_tokens=tuning.num_virtual_tokens,
            num_transformer_submodules=1,
        )
    given = projected and tuning.encoder_hidden_size is not None
    width: dict[str, Any] = {"encoder_hidden_size": tuning.encoder_hidden_size} if given else {}
    return PrefixTuningConfig(
        task_type=task_type,
        num_virtual_tokens=tuning.num_virtual_tokens,
        prefix_projection=projected,
        **width,
    )


def _has_projection(checkpoint: Path) -> bool:
    from workbench.models.soft_prompts.saving import PROJECTION

    return (checkpoint / PROJECTION).is_file()


@torch.no_grad()
def _begin(encoder: Any, wrapped: Any, tuning: TuningSection, tokenizer: Any, projected: bool) -> None:
    base = wrapped.get_base_model()
    if tuning.method == "prefix" and base.config.is_encoder_decoder:
        return
    tokens = initial_tokens(tuning, tokenizer)
    if tokens is None:
        return
    if tuning.method == "prompt":
        found = embeddings_of(base, tokens)
    elif not projected:
        found = prefix_of(base, tokens)
    else:
        # What is projected has the width of the prefix's keys, which the embeddings need not have.
        found = embeddings_of(base, tokens)[:, : encoder.embedding.weight.shape[1]]
    if found.shape != encoder.embedding.weight.shape:
        raise ModelError(
            f"a prefix for {type(base).__name__} is of shape {tuple(found.shape)} from its keys and values, "
            f"and of {tuple(encoder.embedding.weight.shape)} to PEFT",
            where="tuning.method",
            hint="use tuning.method=prompt or lora",
        )
    encoder.embedding.weight.copy_(found)


def _by_operator(wrapped: Any) -> Any:
    """Attention to the prefix by the shared-prefix operator, where it can be."""
    from workbench.models.shared_prefix.peft import use_shared_prefix
    from workbench.models.shared_prefix.support import shared_prefix_support

    return wrapped if shared_prefix_support(wrapped) else use_shared_prefix(wrapped)
