"""Adapters and soft prompts of PEFT, on top of the model that they were trained for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from safetensors import SafetensorError, safe_open

from workbench.errors import ModelError
from workbench.inference.loading.places import ADAPTER, PICKLES
from workbench.inference.loading.soft_prompt import MATRIX, SoftPrompt
from workbench.store.soft_prompts import KINDS

WEIGHTS = "adapter_model.safetensors"
INSIDE = "base_model.model."
"""How PEFT's names for a model's weights begin."""
LAST_LAYERS = ("classifier.weight", "score.weight", "out_proj.weight", "summary.weight")
UNMERGED = ("ADAPTION_PROMPT", "CPT", "MULTITASK_PROMPT_TUNING", "POLY", "XLORA")
"""Kinds whose work depends on the input: they cannot become part of the weights."""


@dataclass(frozen=True)
class Adapter:
    """A folder of adapters, and what its configuration says."""

    folder: Path
    base: str
    revision: str | None
    kind: str
    task: str | None
    virtual_tokens: int | None = None
    layers: int | None = None

    @property
    def is_soft_prompt(self) -> bool:
        """Whether it stands before a prompt rather than in the weights."""
        return self.kind in KINDS


def read_adapter(folder: Path) -> Adapter:
    """Raises `ModelError` when the configuration is damaged, or the weights missing or pickled."""
    try:
        found = orjson.loads((folder / ADAPTER).read_bytes())
        adapter = Adapter(
            folder,
            str(found["base_model_name_or_path"]),
            found.get("revision"),
            str(found["peft_type"]),
            found.get("task_type"),
            found.get("num_virtual_tokens"),
            found.get("num_layers"),
        )
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{ADAPTER} is damaged: {error}", where=str(folder)) from None
    if not (folder / WEIGHTS).is_file():
        pickled = any(path.suffix in PICKLES for path in folder.iterdir())
        raise ModelError(
            "its adapters are pickled, which can run any code when opened"
            if pickled
            else f"the folder holds no {WEIGHTS}",
            where=str(folder),
            hint="where you trust it, load it with PEFT and save it again" if pickled else "",
        )
    if adapter.kind in UNMERGED:
        raise ModelError(f"adapters of the kind {adapter.kind} cannot be served", where=str(folder))
    return adapter


def brought_by(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """The weights that were saved whole with the adapters, by the model's names for them: their shapes.

    Raises `ModelError` when the file is damaged.
    """
    try:
        with safe_open(adapter.folder / WEIGHTS, "np") as file:
            return {
                name.removeprefix(INSIDE): tuple(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118 - it is no mapping
                if "lora_" not in name
            }
    except SafetensorError as error:
        raise ModelError(
            f"the weight file is damaged or cut short: {error}", where=str(adapter.folder / WEIGHTS)
        ) from None


def outputs_of(adapter: Adapter) -> int | None:
    """How many outputs the head has that was saved with adapters; None where there is none."""
    found = [shape[0] for name, shape in brought_by(adapter).items() if name.endswith(LAST_LAYERS)]
    return min(found, default=None)


def read_soft_prompt(adapter: Adapter) -> SoftPrompt:
    """The soft prompt in a folder. Raises `ModelError` when it is none, or damaged."""
    where = str(adapter.folder / WEIGHTS)
    if not adapter.is_soft_prompt:
        raise ModelError(
            f"it is an adapter of the kind {adapter.kind}, no soft prompt",
            where=str(adapter.folder),
            hint="adapters become part of the weights: give it as --adapter",
        )
    try:
        with safe_open(adapter.folder / WEIGHTS, "pt") as file:
            matrix = file.get_tensor(MATRIX)
    except SafetensorError as error:
        raise ModelError(f"the soft prompt is damaged or cut short: {error}", where=where) from None
    # For an encoder–decoder PEFT keeps twice as many vectors, and puts the first half before the encoder's.
    count = adapter.virtual_tokens or len(matrix)
    if matrix.ndim != 2 or not 0 < count <= len(matrix):
        raise ModelError(f"{MATRIX} is {list(matrix.shape)}, not a row for each of {count}", where=where)
    if not bool(matrix.isfinite().all()):
        raise ModelError("the soft prompt holds numbers that are not finite", where=where)
    return SoftPrompt(
        adapter.kind,
        matrix[:count].clone(),
        adapter.base,
        str(adapter.folder),
        adapter.layers,
        soft_prompt_changed(adapter.folder),
    )


def soft_prompt_changed(folder: str | Path) -> int | None:
    """When the file of a soft prompt was written, in nanoseconds; None where it is gone."""
    try:
        return (Path(folder) / WEIGHTS).stat().st_mtime_ns
    except OSError:
        return None


def apply(model: Any, adapter: Adapter) -> tuple[Any, SoftPrompt | None]:
    """The model with the adapters in its weights, or the soft prompt to put before its input.

    Raises `ModelError` when they do not fit; whether a soft prompt does is known to who runs the model.
    """
    if adapter.is_soft_prompt:
        return model, read_soft_prompt(adapter)
    from peft import PeftModel

    _grow_vocabulary(model, adapter)
    try:
        wrapped = PeftModel.from_pretrained(model, str(adapter.folder), autocast_adapter_dtype=False)
        return wrapped.merge_and_unload(safe_merge=True).eval().requires_grad_(False), None
    except Exception as error:
        # PEFT's many kinds of adapters fail each in its own way when layers or shapes are others.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ModelError(
            f"the adapters do not fit their base model: {first}",
            where=str(adapter.folder),
            hint=f"they were trained for {adapter.base}",
        ) from error


def _grow_vocabulary(model: Any, adapter: Adapter) -> None:
    """Adapters that taught new tokens were saved with the whole table of embeddings."""
    table = model.get_input_embeddings()
    path = next((name for name, module in model.named_modules() if module is table), "")
    shape = brought_by(adapter).get(f"{path}.weight")
    if shape is not None and shape[0] != table.weight.shape[0]:
        model.resize_token_embeddings(shape[0], mean_resizing=False)
