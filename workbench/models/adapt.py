"""Which weights of a model learn: all, only a new last layer, adapters beside them, or a soft prompt."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from workbench.errors import ModelError
from workbench.models.attention.configuration import MODEL_TYPE as OWN_TYPE
from workbench.models.heads import head_names
from workbench.models.rope_scaling import is_moving

if TYPE_CHECKING:
    from workbench.models.purpose import Purpose
    from workbench.recipe import TuningSection

TASK_TYPES = {
    "clm": "CAUSAL_LM",
    "denoise": "SEQ_2_SEQ_LM",
    "classification": "SEQ_CLS",
    "regression": "SEQ_CLS",
    "reward": "SEQ_CLS",
    "tagging": "TOKEN_CLS",
    "span_extraction": "QUESTION_ANS",
}
"""What PEFT calls a model for each objective; the others have no name there."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def adapt(
    model: Any,
    tuning: TuningSection,
    purpose: Purpose,
    checkpoint: Path | None = None,
    tokenizer: Any = None,
) -> nn.Module:
    """Freeze what is not to learn, or add adapters (Hu et al. 2021, LoRA) or a soft prompt, those of
    `checkpoint` if given. `tokenizer` is what a soft prompt needs to begin as a text or as tokens.

    What was drawn anew when the model was loaded always learns: its head, and a pooler that a masked
    language model lacks. Raises `ModelError` when the recipe names layers that the model has not, or when
    the model has new weights that adapters cannot hold.
    """
    if tuning.method == "full":
        whole: nn.Module = model
        return whole
    if not hasattr(model, "base_model_prefix"):
        raise ModelError(
            f"tuning.method {tuning.method} is for one model, and {purpose.objective} trains two",
            where="tuning.method",
            hint="use tuning.method=full",
        )
    if tuning.method == "frozen":
        freeze(model)
        frozen: nn.Module = model
        return frozen
    if tuning.is_soft_prompt:
        if is_moving(model.config):
            raise ModelError(
                f"tuning.method {tuning.method} learns what stands before texts of any length, and with "
                "dynamic NTK the angles of every length are others",
                where="model.rope_scaling",
                hint="linear, ntk and yarn have the same angles at every length",
            )
        if tuning.method == "prefix" and model.config.model_type == OWN_TYPE:
            raise ModelError(
                "a prefix is keys and values before all others, which this attention does not keep or takes "
                "for the text's first tokens",
                where="tuning.method",
                hint="prompt, lora and full are possible",
            )
        from workbench.models.soft_prompts.making import with_soft_prompt

        _check_complete(model, purpose)
        prompted: nn.Module = with_soft_prompt(
            model, tuning, TASK_TYPES.get(purpose.objective, ""), tokenizer, checkpoint
        )
        return prompted
    return _with_adapters(model, tuning, purpose, checkpoint)


def freeze(model: Any) -> None:
    """Let only the head learn, and what else was drawn anew."""
    new = {*getattr(model, "new_weights", [])}
    head = tuple(f"{name}." for name in head_names(model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in new or name.startswith(head))


def _with_adapters(model: Any, tuning: TuningSection, purpose: Purpose, checkpoint: Path | None) -> nn.Module:
    from peft import LoraConfig, PeftModel, get_peft_model

    if checkpoint is not None:
        if not (checkpoint / ADAPTER_WEIGHTS).is_file():
            raise ModelError(f"the checkpoint holds no {ADAPTER_WEIGHTS}", where=str(checkpoint))
        loaded: nn.Module = PeftModel.from_pretrained(model, str(checkpoint), is_trainable=True)
        return loaded
    _check_complete(model, purpose)
    new = getattr(model, "new_weights", [])
    saved = _learning_parts(model, new) if purpose.is_task else []
    config = LoraConfig(
        r=tuning.r,
        lora_alpha=tuning.lora_alpha,
        lora_dropout=tuning.lora_dropout,
        target_modules=_targets(model, tuning.target_modules),
        modules_to_save=saved or None,
        task_type=TASK_TYPES.get(purpose.objective),
    )
    # Adapters fit one state of a model that may change on the hub.
    revision = getattr(model.config, "_commit_hash", None)
    wrapped: nn.Module = get_peft_model(model, config, **({"revision": revision} if revision else {}))
    return wrapped


def _check_complete(model: Any, purpose: Purpose) -> None:
    new = getattr(model, "new_weights", [])
    if new and not purpose.is_task:
        raise ModelError(
            f"the model lacks {len(new)} weights that {purpose.objective} needs, and adapters cannot stand "
            f"in for them: {', '.join(new[:3])}",
            where="tuning.method",
            hint="use tuning.method=full",
        )


def _learning_parts(model: Any, new: list[str]) -> list[str]:
    """The modules that learn as they are and are saved whole: the head, and what of the encoder is new."""
    head = head_names(model)
    inside = {name.rpartition(".")[0] for name in new if name.partition(".")[0] not in head}
    return [*head, *sorted(inside)]


def _targets(model: Any, wanted: list[str]) -> list[str]:
    """The names of the linear layers to adapt, without the head; by default every one."""
    body, output = getattr(model, model.base_model_prefix, model), model.get_output_embeddings()
    paths = [
        name for name, layer in body.named_modules() if isinstance(layer, nn.Linear) and layer is not output
    ]
    linear = sorted({path.rpartition(".")[2] for path in paths})
    for name in wanted:
        if not any(f".{path}".endswith(f".{name}") for path in paths):
            near = difflib.get_close_matches(name, linear, n=1) or linear[:1]
            raise ModelError(
                f"tuning.target_modules names “{name}”, which is no linear layer of {type(model).__name__}",
                hint=f"did you mean {near[0]}? There are: {', '.join(linear)}" if near else "",
            )
    return wanted or linear
