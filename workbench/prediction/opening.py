"""A model folder opened for use: what it was trained to do, its head, its labels, its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch

from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError
from workbench.models.adapt import TASK_TYPES
from workbench.models.context import context_of_config
from workbench.models.load import load_config, load_model
from workbench.models.purpose import Purpose
from workbench.models.reward_head import carry_over, is_reward_model
from workbench.models.rope_scaling import extension_of, recorded, with_extension
from workbench.recipe import ModelSection

if TYPE_CHECKING:
    from torch import nn

    from workbench.recipe.families import ObjectiveName
    from workbench.rope_extension import RopeExtension

ADAPTER = "adapter_config.json"
MAX_LENGTH = 512
"""Tokens in a row where nothing says how long the rows were that a model was trained on."""

ENDINGS: tuple[tuple[str, ObjectiveName], ...] = (
    ("ForSequenceClassification", "classification"),
    ("ForTokenClassification", "tagging"),
    ("ForQuestionAnswering", "span_extraction"),
    ("ForQuestionAnsweringSimple", "span_extraction"),
    ("ForMaskedLM", "mlm"),
    ("ForPreTraining", "mlm"),
    ("XLNetLMHeadModel", "plm"),
    ("ForCausalLM", "clm"),
    ("LMHeadModel", "clm"),
    ("ForConditionalGeneration", "denoise"),
)
"""What a class of transformers does, by the end of its name; the first that fits."""


@dataclass(frozen=True)
class Opened:
    """A model in evaluation mode on its device, with what belongs to it."""

    name: str
    model: Any
    tokenizer: Any
    purpose: Purpose
    max_length: int


def objective_of(config: Any, name: str) -> ObjectiveName:
    """What a model was trained to do, from its configuration. Raises `ModelError` when it has no head."""
    architectures = getattr(config, "architectures", None) or []
    kind = str(architectures[0]) if architectures else ""
    if kind == "ElectraForPreTraining":
        return "rtd"
    for ending, objective in ENDINGS:
        if kind.endswith(ending):
            if objective == "classification" and is_reward_model(config):
                return "reward"
            regression = config.problem_type == "regression" or config.num_labels == 1
            return "regression" if objective == "classification" and regression else objective
    raise ModelError(
        f"{kind or 'the model'} is an encoder without a head: there is nothing it was trained to answer",
        where=name,
        hint="train one on labelled records: workbench train classify data.sources=[FILE] "
        f"model.model_name_or_path={name}",
    )


def labels_of(config: Any, objective: str) -> tuple[str, ...]:
    """The names of a head's outputs, in their order."""
    if objective not in ("classification", "tagging"):
        return ()
    return tuple(str(config.id2label[number]) for number in range(config.num_labels))


def base_name(folder: Path) -> str | None:
    """The model that adapters in a folder are for; None for a folder of another kind."""
    return _adapter(folder)["base_model_name_or_path"] if (folder / ADAPTER).is_file() else None


def open_model(
    name: str,
    device: torch.device,
    max_length: int | None = None,
    *,
    extension: RopeExtension | None = None,
) -> Opened:
    """The model, its tokenizer and its purpose, from a folder (also one of adapters) or the hub; with an
    `extension`, its positions stretched.

    Raises `ModelError`.
    """
    folder = Path(name).expanduser()
    if (folder / ADAPTER).is_file():
        model, config, purpose = _adapted(folder, extension)
        own = (folder / "tokenizer_config.json").is_file()
        tokenizer_name = str(folder) if own else _adapter(folder)["base_model_name_or_path"]
    else:
        section = ModelSection(model_name_or_path=name)
        if extension is not None:
            section = with_extension(section, extension)
        config = load_config(section)
        objective = objective_of(config, name)
        purpose = Purpose(objective, labels_of(config, objective))
        model, tokenizer_name = load_model(section, purpose, complete=True), name
    tokenizer = load_tokenizer(tokenizer_name, revision=None, trust_remote_code=False)
    context = context_of_config(config)
    length = max_length or min(context or MAX_LENGTH, MAX_LENGTH)
    if context is not None and length > context:
        raise ModelError(
            f"--max-length {length:,} is longer than the model's context of {context:,} tokens", where=name
        )
    model.to(device).eval()
    return Opened(name, model, tokenizer, purpose, length)


def _adapter(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads((folder / ADAPTER).read_bytes())
        return {"base_model_name_or_path": found["base_model_name_or_path"], "task_type": found["task_type"]}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{ADAPTER} is damaged: {error}", where=str(folder)) from None


def _adapted(folder: Path, extension: RopeExtension | None) -> tuple[nn.Module, Any, Purpose]:
    """The base model that adapters are for, with them; labels stand in a config.json beside them, where
    they were trained here, else the head's outputs have numbers."""
    from peft import PeftModel

    about = _adapter(folder)
    base = ModelSection(model_name_or_path=about["base_model_name_or_path"])
    config = load_config(ModelSection(model_name_or_path=str(folder)) if _has_config(folder) else base)
    by_type = {
        kind: objective for objective, kind in TASK_TYPES.items() if objective not in ("regression", "reward")
    }
    objective: Any = by_type.get(about["task_type"])
    if objective is None:
        objective = objective_of(config, str(folder))
    if not _has_config(folder) and objective in ("classification", "tagging"):
        config.num_labels = _outputs(folder) or config.num_labels
    if objective == "classification" and config.num_labels == 1:
        objective = "reward" if is_reward_model(config) else "regression"
    purpose = Purpose(objective, labels_of(config, objective))
    try:
        if (made := recorded(config)) is not None and extension_of(load_config(base)) is None:
            # They were trained with other angles than those of their model.
            base = with_extension(base, made)
        if extension is not None:
            if made is not None:
                raise ModelError(
                    "its adapters were trained with positions that are stretched already",
                    where=str(folder),
                    hint="leave --rope-scaling out",
                )
            base = with_extension(base, extension)
        loaded = load_model(base, purpose)
        if objective == "reward":
            carry_over(config, loaded.config)
        model: nn.Module = PeftModel.from_pretrained(loaded, str(folder))
    except (RuntimeError, ValueError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the adapters do not fit their base model: {first}", where=str(folder)) from None
    return model, config, purpose


def _outputs(folder: Path) -> int | None:
    """How many outputs the head has that was saved with adapters; None where there is none."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "np") as weights:
        sizes = [
            int(weights.get_slice(name).get_shape()[0])
            for name in weights.keys()  # noqa: SIM118
            if "lora_" not in name and "dense" not in name and name.endswith("weight") and "norm" not in name
        ]
    return min(sizes, default=None)


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def device_of(name: str) -> torch.device:
    """The device asked for. Raises `ModelError` where torch sees none such; `auto` takes what there is."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise ModelError(
            f"--device is {name}, but torch sees no such device here",
            hint="workbench doctor shows what this machine has; auto takes what there is",
        )
    return torch.device(name)
