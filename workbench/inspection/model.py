"""An existing checkpoint, opened without loading its weights and without running any code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError
from workbench.inspection.checkpoint_files import PICKLES, Place, find_place
from workbench.inspection.found import Found
from workbench.inspection.gguf_file import about_gguf
from workbench.inspection.weights import TensorInfo, groups_of, of_safetensors

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

CONVERT = "where you trust it, convert it: AutoModel….from_pretrained(…).save_pretrained(…)"


def model(name: str, progress: Progress, revision: str | None = None) -> dict[str, Any]:
    """What there is in a folder, a GGUF file or a model of the hub.

    Raises `ModelError` where there is no checkpoint, `MissingExtraError` for GGUF without its package.
    """
    place = find_place(name, revision, progress)
    found = Found()
    if place.gguf is not None:
        about_gguf(place.gguf, found)
    else:
        _read_config(place, found)
        _read_weights(place, found)
        _read_tokenizer(place, found)
    adapter = _json(place.folder / "adapter_config.json", found) if place.has("adapter_config.json") else None
    return {
        "name": name,
        "format": "gguf" if place.gguf is not None else "adapter" if adapter else "safetensors",
        "folder": str(place.folder),
        "architecture": _architecture(found, adapter),
        "config": found.config or adapter or {},
        "base_model": (adapter or {}).get("base_model_name_or_path"),
        "parameters": sum(tensor.parameters for tensor in found.tensors),
        "bytes": sum(tensor.num_bytes for tensor in found.tensors),
        "dtypes": _dtypes(found.tensors),
        "groups": groups_of(found.tensors),
        "tokenizer": found.tokenizer,
        "chat": found.chat,
        "files": [{"path": path, "bytes": size} for path, size in place.files],
        "problems": found.problems,
    }


def _architecture(found: Found, adapter: dict[str, Any] | None) -> str:
    architectures = found.config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return str(architectures[0])
    if adapter is not None:
        return f"{adapter.get('peft_type', 'PEFT')} adapter"
    return str(found.config.get("model_type") or found.config.get("general.architecture") or "")


def _dtypes(tensors: list[TensorInfo]) -> dict[str, int]:
    """Parameters in each type, the commonest first."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.parameters
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _json(path: Path, found: Found) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        found.complain(f"{path.name} cannot be read: {error}", str(path))
        return {}
    if not isinstance(value, dict):
        found.complain(f"{path.name} holds no mapping", str(path))
        return {}
    return value


def _read_config(place: Place, found: Found) -> None:
    if place.has("config.json"):
        found.config = _json(place.folder / "config.json", found)
    elif not place.has("adapter_config.json"):
        found.complain("there is no config.json", str(place.folder), "without it transformers loads nothing")
    if "auto_map" in found.config:
        found.complain(
            "the model comes with Python code of its own (auto_map), which was not run",
            str(place.folder),
            "model.trust_remote_code=true runs it; only for authors you trust",
        )


def _read_weights(place: Place, found: Found) -> None:
    if place.remote is not None:
        found.tensors = place.remote
    names = [path for path, _ in place.files if "/" not in path]
    for file in (name for name in names if name.endswith(".safetensors")):
        if place.remote is not None:
            break
        try:
            found.tensors += of_safetensors(place.folder / file)
        except ModelError as error:
            found.problems.append(error.as_dict())
    pickled = [name for name in names if name.endswith(PICKLES)]
    if pickled:
        only = "" if found.tensors else "; there are no others"
        found.complain(
            f"weights are pickled ({', '.join(pickled)}), which can run any code when opened{only}",
            str(place.folder),
            CONVERT,
        )
    elif not found.tensors and not found.problems:
        found.complain("there are no weights", str(place.folder), "a model.safetensors is missing")
    _check_index(place, found, names)


def _check_index(place: Place, found: Found, names: list[str]) -> None:
    """Files that the index of a model in several parts names, and that are not there."""
    index = "model.safetensors.index.json"
    if index not in names or not place.has(index):
        return
    parts = _json(place.folder / index, found).get("weight_map")
    wanted = {str(file) for file in parts.values()} if isinstance(parts, dict) else set()
    missing = sorted(wanted - set(names))
    if missing:
        found.complain(
            f"{len(missing)} of {len(wanted)} weight files are missing: {', '.join(missing[:3])}",
            str(place.folder),
            "it was copied or downloaded incompletely; get it again",
        )


def _read_tokenizer(place: Place, found: Found) -> None:
    if not place.has("tokenizer_config.json") and not place.has("tokenizer.json"):
        if not place.has("adapter_config.json"):
            found.complain("there is no tokenizer beside the model", str(place.folder))
        return
    try:
        tokenizer = load_tokenizer(str(place.folder), revision=None, trust_remote_code=False)
        found.add_tokenizer(tokenizer, str(place.folder))
    except ModelError as error:
        found.problems.append(error.as_dict())
