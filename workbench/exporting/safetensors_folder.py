"""A folder that transformers loads: weights, configuration, tokenizer, chat template, how to generate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from safetensors.torch import save_file

from workbench.data import turn_ends
from workbench.errors import ModelError
from workbench.exporting import conversation
from workbench.exporting.dtypes import DTYPES, converted
from workbench.exporting.tensors import INDEX, StoredTensors
from workbench.store.wire import Progress
from workbench.training.checkpoint import STATE_FILE

if TYPE_CHECKING:
    from workbench.exporting.source import Source

CONFIG, GENERATION = "config.json", "generation_config.json"
TAKEN = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
"""Small files that go along: tokenizer, templates, what embedders are made of."""
LEFT = (CONFIG, GENERATION, INDEX, STATE_FILE, "adapter_config.json", "workbench-export.json")
FOLDERS = ("additional_chat_templates", "[0-9]_*")
"""Further templates, and the modules of sentence-transformers."""


def write_safetensors(
    source: Source, folder: Path, dtype: str, tokenizer: Any, progress: Progress, *, exact: bool = False
) -> list[str]:
    """Fill `folder`; returns notes. With `exact`, every weight keeps the type it is stored in, `dtype` being
    the commonest. Raises `ModelError`, and `OSError` or `SafetensorError` of a full disk."""
    if source.model is not None:
        _write_model(source.model, folder, dtype)
    else:
        _copy_model(source, folder, dtype, exact, progress)
    for path in _small_files(source.tokenizer_folder) if source.tokenizer_folder else ():
        target = folder / path.relative_to(source.tokenizer_folder or folder)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    if tokenizer is None:
        return ["there is no tokenizer beside the model, so none was written"]
    return [*_complete_ends(folder, source.config, tokenizer), *conversation.unmarked_end(tokenizer)]


def _write_model(model: Any, folder: Path, dtype: str) -> None:
    for part in [*model.parameters(), *model.buffers()]:
        part.data = converted(part.data, dtype, "the model")
    model.config.dtype = DTYPES[dtype]
    model.save_pretrained(folder)


def _copy_model(source: Source, folder: Path, dtype: str, exact: bool, progress: Progress) -> None:
    """File by file and tensor by tensor, as they are but for their type, whatever model it is."""
    tensors = source.tensors
    assert isinstance(tensors, StoredTensors)
    config = _json(source.folder / CONFIG)
    if not exact and config.get("quantization_config"):
        raise ModelError(
            "its weights are quantized, so they cannot be written as other numbers",
            where=str(source.folder),
            hint="leave out --dtype",
        )
    for number, (path, names) in enumerate(tensors.files.items()):
        progress("writing weights", number, len(tensors.files))
        held = {name: tensors.get(name) for name in names}
        if not exact:
            held = {name: converted(tensor, dtype, name) for name, tensor in held.items()}
        save_file(held, folder / path.name, metadata={"format": "pt"})
    if len(tensors.files) > 1 or (source.folder / INDEX).is_file():
        places = {name: path.name for path, names in tensors.files.items() for name in names}
        total = sum((folder / path.name).stat().st_size for path in tensors.files)
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    if not exact:
        config.pop("torch_dtype", None)
        config["dtype"] = str(DTYPES[dtype]).removeprefix("torch.")
    _write_json(folder / CONFIG, config)
    if (source.folder / GENERATION).is_file():
        shutil.copyfile(source.folder / GENERATION, folder / GENERATION)
    if "auto_map" in config:
        for path in source.folder.glob("*.py"):
            shutil.copyfile(path, folder / path.name)


def _small_files(folder: Path) -> Iterator[Path]:
    for pattern in TAKEN:
        yield from (path for path in folder.glob(pattern) if path.name not in LEFT and path.is_file())
    for pattern in FOLDERS:
        for inner in folder.glob(pattern):
            yield from (path for path in inner.glob("*") if path.is_file() and path.suffix != ".bin")


def _complete_ends(folder: Path, config: Any, tokenizer: Any) -> list[str]:
    """Have generation end where the model was taught to: behind a turn of the template it learnt with."""
    path = folder / GENERATION
    kept = _json(path) if path.is_file() else {}
    named = kept.get("eos_token_id", getattr(config, "eos_token_id", None))
    ends = named if isinstance(named, list) else [] if named is None else [named]
    missing = {text: id for text, id in turn_ends.ends_of_turn(tokenizer).items() if id not in ends}
    if not missing:
        return []
    whole = [*ends, *missing.values()]
    _write_json(path, {**kept, "eos_token_id": whole[0] if len(whole) == 1 else whole})
    return [f"generation_config.json: {', '.join(missing)} ends an answer too, as the chat template has it"]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path.name} is damaged: {error}", where=str(path)) from None
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} holds no mapping", where=str(path))
    return value


def _write_json(path: Path, value: dict[str, Any]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    path.write_bytes(orjson.dumps(value, option=options))
