"""Exporting a model from a process that has no torch: a child process does it.

What is asked and answered stands in `workbench.exporting`.
"""

from __future__ import annotations

from typing import Any

from workbench.store.inspector import Inspector, Progress

FORMATS = {
    "safetensors": "a folder that transformers loads, adapters merged",
    "gguf": "one file for llama.cpp and what is built on it",
    "ollama": "the same with a Modelfile for Ollama",
}
DTYPES = ("auto", "f32", "f16", "bf16", "q8_0")
"""Number formats: `auto` is that in which the weights are stored; the last for GGUF alone."""
PATIENCE = 10.0
"""Seconds in which the child may take away what it has half-written, when it is asked to end."""


def exporter() -> Inspector:
    """The child process, not yet started; `exported` asks it, and `close` or `cancel` ends it."""
    return Inspector("workbench.exporting", patience=PATIENCE)


def exported(
    child: Inspector,
    name: str,
    *,
    format: str,
    to: str,
    dtype: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write what `name` means into the folder `to`. Raises the `WorkbenchError` that the child raised."""
    asked = {"name": name, "format": format, "to": to, "dtype": dtype, "force": force}
    return child.request("export", progress=progress, **asked)
