"""What goes wrong in the libraries below, as something a user can act on."""

from __future__ import annotations

import torch

from workbench.errors import ModelError

CONVERT = "where you trust it, convert it: AutoModel….from_pretrained(…).save_pretrained(…)"
MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the machine or of its GPU."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(word in str(error) for word in MEMORY)


def explain(error: Exception, name: str) -> ModelError:
    """The libraries raise some twenty kinds between them; their first line says why."""
    text = str(error).strip()
    first = (text.splitlines() or [type(error).__name__])[0][:300]
    if is_out_of_memory(error):
        return ModelError(
            f"there is not enough memory for it: {first}",
            where=name,
            hint="try dtype bf16, or a smaller model",
        )
    if type(error).__name__ == "SafetensorError":
        return ModelError(f"a weight file is damaged or cut short: {first}", where=name)
    if "trust_remote_code" in text:
        return ModelError(
            "this model comes with Python code of its own",
            where=name,
            hint="set trust_remote_code only if you trust its author",
        )
    if "does not recognize this architecture" in text or "Unrecognized model" in text:
        return ModelError(
            f"transformers does not know this kind of model: {first}",
            where=name,
            hint="is there a newer version of it?",
        )
    if "GGUF model with architecture" in text:
        return ModelError(
            f"transformers cannot read this GGUF file: {first}",
            where=name,
            hint="llama.cpp's server can, and is spoken to like any other",
        )
    if "safetensors" in text:
        return ModelError("the model has no safetensors weights", where=name, hint=CONVERT)
    if "size mismatch" in text or "ignore_mismatched_sizes" in text:
        return ModelError("its weights do not fit its config.json", where=name, hint=first)
    if isinstance(error, ImportError):
        return ModelError(f"it needs a package that is not installed: {first}", where=name)
    return ModelError(
        f"it cannot be loaded: {first}", where=name, hint="is the name right, and the hub reachable?"
    )
