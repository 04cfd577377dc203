"""Whether several models of this machine fit into its memory at once. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from workbench.prompting.ranking.sources import ModelSource

SHARE_FOR_WEIGHTS = 0.7
"""Of the memory that is free: an engine takes a quarter of what its weights leave for keys and values."""
BESIDE_BYTES = 600 << 20
"""What an engine takes beside its weights: PyTorch, its libraries, the tokenizer."""


def fit_together(sources: Iterable[ModelSource]) -> bool:
    """Whether engines for all of them can run at once, as far as their files and free memory tell; those
    that run already take nothing more, and servers elsewhere nothing."""
    from workbench.inference import launch

    running = {(state.model, tuple(state.options)) for state in launch.running()}
    wanted = [
        source
        for source in sources
        if source.kind == "local" and (source.model, source.options) not in running
    ]
    on_gpu = _free_gpu_bytes()
    free = _free_bytes() if on_gpu is None else on_gpu
    need = sum(needed_bytes(Path(source.model), on_gpu=on_gpu is not None) for source in wanted)
    return need <= SHARE_FOR_WEIGHTS * free or len(wanted) < 2


def needed_bytes(model: Path, *, on_gpu: bool = False) -> int:
    """About what an engine takes for a model in a folder or file, beside keys and values; 0 for what is not
    on this disk.

    A CPU computes in fp32, where most files hold 16 bits a weight.
    """
    folder = model if model.is_dir() else model.parent
    with suppress(OSError, ValueError):
        adapter = json.loads((folder / "adapter_config.json").read_bytes())
        return needed_bytes(Path(str(adapter.get("base_model_name_or_path"))), on_gpu=on_gpu)
    try:
        files = (
            [model] if model.is_file() else list(model.glob("*.safetensors")) or list(model.glob("*.gguf"))
        )
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return 0
    if not size:
        return 0
    return size * (1 if on_gpu or _is_wide(folder) else 2) + BESIDE_BYTES


def _is_wide(folder: Path) -> bool:
    """Whether the weights are saved in 32 bits."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return "float32" in str(config.get("dtype") or config.get("torch_dtype"))
    except (OSError, ValueError, AttributeError):
        return False


def _free_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _free_gpu_bytes() -> int | None:
    """What is free on the first GPU, where engines go; None where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
