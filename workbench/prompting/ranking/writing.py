"""Whether a model of this machine writes, so that it has answers to be ranked: from its files. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel")
"""How transformers calls the classes of models that write; none of XLNet's, which fills gaps."""
TASKS = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
"""The same of PEFT."""


def writes(model: str) -> bool:
    """Whether a model, a folder, GGUF file or hub name, writes; True where its files do not tell."""
    folder = Path(model)
    adapter = _read(folder / "adapter_config.json")
    if task := adapter.get("task_type"):
        return task in TASKS
    if base := adapter.get("base_model_name_or_path"):
        return writes(str(base))
    architectures = _read(folder / "config.json").get("architectures") or [""]
    name = str(architectures[0]) if isinstance(architectures, list) else ""
    return not name or (name.endswith(WRITERS) and not name.startswith("XLNet"))


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
