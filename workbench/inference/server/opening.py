"""From the options of an engine to what it serves: the model, how it is run, how memory is divided."""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from workbench.errors import ModelError
from workbench.inference.engine.engine import Engine
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.runner import Runner
from workbench.inference.limits import Limits
from workbench.inference.loading.load import LoadedModel, load_for_inference
from workbench.inference.options import rope_of
from workbench.inference.server import soft_prompts
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service
from workbench.models import fused_weights

Say = Callable[[str], None]

LONGEST_FUSED = 32_768
"""Positions that rotary angles are made for where nobody says: at 8 MiB for heads of 64 no great matter."""
SHARE_OF_FREE = 0.25
"""Of the memory that is free once the model is loaded, for keys and values where nobody says."""
LEAST_BYTES, MOST_BYTES = 64 << 20, 8 << 30


def open_service(args: argparse.Namespace, say: Say) -> Service:
    """Load the model that was asked for, and make ready to serve it. Raises `WorkbenchError`."""
    if args.threads:
        torch.set_num_threads(args.threads)
    loaded = load_for_inference(
        args.model,
        dtype=args.dtype,
        device=args.device,
        adapter=args.adapter,
        revision=args.revision,
        trust_remote_code=args.trust_remote_code,
        rope=rope_of(args),
        max_length=args.max_length,
    )
    renderer = Renderer(loaded.tokenizer)
    name = args.name or short_name(loaded.name)
    details: dict[str, Any] = {
        "kind": loaded.kind,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "notes": list(loaded.notes),
        "has_chat_template": renderer.has_template,
    }
    if loaded.kind not in ("decoder", "encoder_decoder"):
        from workbench.inference.engine.encoder import Encoder

        if args.soft_prompt:
            raise ModelError("an encoder takes no soft prompt", where=args.model)
        if loaded.head == "reward":
            details["scores"] = True
        length = min(loaded.max_length, args.max_length or loaded.max_length)
        return Service(name, renderer, length, encoder=Encoder(loaded), details=details)
    say("choosing how to run it")
    runner = choose_runner(loaded, args.max_length)
    give_back_memory()
    memory = kv_bytes(args.kv_memory, loaded.device)
    engine = Engine(runner, loaded.tokenizer, loaded.eos, Limits(args.max_sequences, memory, args.max_queue))
    for word in args.soft_prompt:
        given, _, folder = word.partition("=")
        say(f"reading the soft prompt {given}")
        soft_prompts.load(given, folder or given, engine.soft_prompts)
    details |= {
        "runner": runner.name,
        "kv_memory_bytes": memory,
        "kv_bytes_per_token": runner.bytes_per_token,
    }
    fixed = runner.prefix
    before = 0 if fixed is None else fixed.length if loaded.kind == "decoder" else fixed.columns
    return Service(
        name,
        renderer,
        runner.max_length - before,
        engine=engine,
        defaults=loaded.generation,
        details=details,
        folder=loaded.folder,
        is_owners=getattr(args, "socket", None) is not None,
    )


def short_name(given: str) -> str:
    """What clients call a model: the last part of its folder or file, a run's name for what it made."""
    path = Path(given)
    if path.name == "final" or path.name.startswith("checkpoint-"):
        return path.parent.name or path.name
    return path.stem if path.suffix == ".gguf" else path.name


def choose_runner(loaded: LoadedModel, max_length: int | None) -> Runner[Any, Any]:
    """Fused weights where a Llama-shaped model runs on a CPU, transformers' own forward elsewhere."""
    context = loaded.max_length + (loaded.prefix.length if loaded.prefix else 0)
    length = min(context, max_length or context)
    plain = loaded.device.type == "cpu" and loaded.kind == "decoder"
    if plain and fused_weights.why_not(loaded.model.config) is None:
        weights = fused_weights.fuse(loaded.model, min(length, max_length or LONGEST_FUSED))
        return PagedRunner(weights, loaded.prefix)
    return loaded.make_runner(length)


def give_back_memory() -> None:
    """Return to the system what loading has freed: glibc keeps it for more of the same, which never comes.
    That is 440 MB of a model of 135 M parameters in fp32."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl, nor on macOS
    if trim is not None:
        trim(0)


def kv_bytes(gib: float | None, device: torch.device) -> int:
    """Bytes for keys and values: what was asked for, or a share of what is free."""
    if gib is not None:
        return int(gib * 2**30)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    return max(LEAST_BYTES, min(MOST_BYTES, int(free * SHARE_OF_FREE)))
