"""One export: find what is meant, check all that can be checked, write it aside, give it its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError, UsageError
from workbench.exporting.aside import check_free, check_room, describe, written_aside
from workbench.exporting.dtypes import DTYPES, Q8_0, dtype_named
from workbench.exporting.safetensors_folder import write_safetensors
from workbench.exporting.source import Source, find_source
from workbench.store.wire import Progress

FORMATS = ("safetensors", "gguf", "ollama")
ROOM = 1.02
"""Beside the weights: the tokenizer, and what a file system needs for itself."""
Q8_0_BYTES = 34 / 32


def export(
    *, name: str, format: str, to: str, progress: Progress, dtype: str = "auto", force: bool = False
) -> dict[str, Any]:
    """Write what `name` means into the folder `to`; what comes back stands in `workbench.exporting`.

    Raises `WorkbenchError`s.
    """
    if format not in FORMATS:
        raise UsageError(
            f"there is no format {format}", where="--format", hint=f"one of {', '.join(FORMATS)}"
        )
    target = Path(to).expanduser().absolute()
    check_free(target, force=force)
    progress("opening the model", 0, None)
    source = find_source(name, progress)
    if target.resolve() == source.folder.resolve():
        raise UsageError("that is the folder of the model itself", where=str(target), hint="name another")
    exact = dtype == "auto"
    dtype = dtype_named(dtype, source.stored, quantized=format != "safetensors")
    tokenizer = _tokenizer(source)
    check_room(target, int(source.parameters * _bytes_of(dtype) * ROOM))
    about = {
        "format": format,
        "model": source.name,
        "base_model": source.base,
        "architecture": source.architecture,
        "dtype": dtype,
        "parameters": source.parameters,
    }
    if format == "safetensors":
        with written_aside(target, force=force) as folder:
            notes = write_safetensors(source, folder, dtype, tokenizer, progress, exact=exact)
            files = describe(folder, {**about, "notes": notes}, progress)
    else:
        from workbench.exporting.llama_cpp.plan import plan
        from workbench.exporting.ollama import write_modelfile

        planned = plan(source, tokenizer, dtype)
        with written_aside(target, force=force) as folder:
            file = folder / f"{source.name}-{dtype}.gguf"
            notes = planned.write(file, progress)
            if format == "ollama":
                notes += write_modelfile(folder, file.name, planned)
            files = describe(folder, {**about, "notes": notes}, progress)
    return {**about, "folder": str(target), "files": files, "notes": notes}


def _bytes_of(dtype: str) -> float:
    return Q8_0_BYTES if dtype == Q8_0 else float(DTYPES[dtype].itemsize)


def _tokenizer(source: Source) -> Any:
    """None where there is none beside the model. Raises `ModelError` for one that is damaged."""
    if source.tokenizer_folder is None:
        return None
    try:
        return load_tokenizer(str(source.tokenizer_folder), revision=None, trust_remote_code=False)
    except ModelError:
        if (source.tokenizer_folder / "tokenizer.json").is_file():
            raise
        # One that runs in Python, or needs a package: it can be copied, but tells nothing of itself.
        return None
