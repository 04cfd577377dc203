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
from workbench.inference.engine.kv_codecs import KvDtype
from workbench.inference.engine.paged_runner import PagedRunner
from workbench.inference.engine.runner import Runner
from workbench.inference.engine.state_runner import StateRunner
from workbench.inference.limits import Limits
from workbench.inference.loading.load import LoadedModel, load_for_inference
from workbench.inference.options import rope_of
from workbench.inference.server import soft_prompts
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.service import Service
from workbench.models import fused_weights
from workbench.models.attention.configuration import MODEL_TYPE
from workbench.models.attention.patterns import layer_patterns
from workbench.models.live_decoder import LiveDecoder

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
    runner = choose_runner(loaded, args.max_length, args.kv_dtype, soft_prompts=bool(args.soft_prompt))
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
        "kv_dtype": args.kv_dtype if args.kv_dtype != "auto" else details["dtype"],
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


def choose_runner(
    loaded: LoadedModel,
    max_length: int | None,
    kv_dtype: KvDtype = "auto",
    *,
    soft_prompts: bool = False,
) -> Runner[Any, Any]:
    """Fused weights where a Llama-shaped model runs on a CPU; caches that do not grow, or in few bits, for
    such a model with windows or sums, or where that is asked for; transformers' own forward elsewhere.

    `soft_prompts`: requests are to choose such, which only the first and the last can have. Raises
    `ModelError` where few bits are asked for and cannot be had.
    """
    context = loaded.max_length + (loaded.prefix.length if loaded.prefix else 0)
    length = min(context, max_length or context)
    config, is_decoder = loaded.model.config, loaded.kind == "decoder"
    fused_length = min(length, max_length or LONGEST_FUSED)
    prompted = loaded.prefix is not None or soft_prompts
    plain = loaded.device.type == "cpu" and is_decoder and fused_weights.why_not(config) is None
    if plain and kv_dtype == "auto":
        return PagedRunner(fused_weights.fuse(loaded.model, fused_length), loaded.prefix)
    patterns = layer_patterns(config) if is_decoder else "it is no decoder"
    own_type = config.model_type == MODEL_TYPE
    if prompted and (own_type or kv_dtype != "auto"):
        what = "with its attention" if own_type else f"with --kv-dtype {kv_dtype}"
        raise ModelError(
            f"a soft prompt cannot stand before what the engine keeps {what}",
            where=loaded.name,
            hint="leave out the soft prompt" + ("" if own_type else ", or --kv-dtype"),
        )
    if isinstance(patterns, str):
        if kv_dtype != "auto":
            raise ModelError(
                f"its keys and values cannot be kept in {kv_dtype}: {patterns}",
                where=loaded.name,
                hint="leave out --kv-dtype",
            )
        if own_type:
            raise ModelError(f"its attention cannot be served here: {patterns}", where=loaded.name)
    elif kv_dtype != "auto" or (not prompted and any(p is None or not p.is_full for p in patterns)):
        if loaded.device.type == "cpu":
            weights = fused_weights.fuse(loaded.model, fused_length)
        else:
            weights = LiveDecoder(loaded.model, fused_length, loaded.dtype).weights()
        return StateRunner(weights, patterns, kv_dtype)
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
