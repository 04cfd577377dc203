"""Adapters merged into the weights of the model that they were trained for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from workbench.errors import ModelError
from workbench.inference.loading.adapters import (
    WEIGHTS,
    Adapter,
    apply,
    brought_by,
    outputs_of,
    read_adapter,
)
from workbench.inference.loading.kinds import class_of, kind_of
from workbench.inference.loading.places import CONFIG, Place, find_place
from workbench.inference.loading.weights import config_of, own_weights, read_model

CLASSES = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
"""By what PEFT calls the task of adapters; without one, by the model's own class."""


def merged(folder: Path) -> tuple[Any, Place]:
    """The model with the adapters in its weights, in fp32 on the CPU, and the place of its base.

    LoRA (Hu et al. 2021, section 4.1): W ← W + (α/r)·B·A, and PEFT's other kinds likewise. Raises
    `ModelError` when the base is not to be had, or the adapters do not fit it.
    """
    adapter = read_adapter(folder)
    base = _base_of(adapter)
    config = _config(adapter, base)
    kind = CLASSES.get(adapter.task or "") or class_of(config, *kind_of(config, str(folder), adapter.task))
    brought = frozenset(brought_by(adapter))
    model = read_model(base, config, kind, torch.float32, torch.device("cpu"), brought=brought)
    own_weights(model)
    _untie(model, adapter)
    model, _ = apply(model, adapter)
    return model, base


def _base_of(adapter: Adapter) -> Place:
    try:
        base = find_place(adapter.base, adapter.revision)
    except ModelError as error:
        raise ModelError(
            f"the model that the adapters are for cannot be had: {error.message}",
            where=str(adapter.folder),
            hint=f"they name {adapter.base}: put it there, or correct base_model_name_or_path in "
            "adapter_config.json",
        ) from None
    if base.is_adapter or base.gguf is not None:
        what = "other adapters" if base.is_adapter else "a GGUF file"
        raise ModelError(f"the adapters are for {what}, not for a model's weights", where=str(adapter.folder))
    return base


def _config(adapter: Adapter, base: Place) -> Any:
    """The configuration, with the labels of a head: our runs save it beside the adapters."""
    if (adapter.folder / CONFIG).is_file():
        return config_of(Place(adapter.folder))
    config = config_of(base)
    if adapter.task in ("SEQ_CLS", "TOKEN_CLS") and (outputs := outputs_of(adapter)) is not None:
        config.num_labels = outputs
    return config


def _untie(model: Any, adapter: Adapter) -> None:
    """Part the embeddings from an output layer that is the same table, where adapters change one of the two:
    merged into both, they would change the other too."""
    given, taken = model.get_input_embeddings(), model.get_output_embeddings()
    if taken is None or given is None or taken.weight is not given.weight:
        return
    paths = [name for name, part in model.named_modules() if part is given or part is taken]
    with safe_open(adapter.folder / WEIGHTS, "pt") as file:
        changed = [name for name in file.keys() if any(f".{path}." in name for path in paths)]  # noqa: SIM118
    if changed:
        model.config.tie_word_embeddings = False
        taken.weight = torch.nn.Parameter(taken.weight.detach().clone(), requires_grad=False)
        # What transformers leaves out of the file, and ties again.
        model.all_tied_weights_keys = {}
