"""A model is tried before it serves: whether its cache gives what it gives without, and may be padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import ModelError
from workbench.inference.engine.dense_cache import Block
from workbench.inference.loading.explain import explain, is_out_of_memory
from workbench.inference.loading.soft_prompt import CacheShape

if TYPE_CHECKING:
    from workbench.inference.engine.transformers_runner import TransformersRunner

LONG, SHORT, ANSWER = 7, 3, 4
"""Tokens of two prompts, and of what follows them."""
CHUNK = 4
TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""Of the largest logit: far above what rounding does in a deep model, far below what a wrong mask does."""
PADDING_NOISE = 4
"""Padded rows may differ from the truth by so many times what a row by itself does."""
MOVING_ROPE = ("dynamic", "longrope")
"""Kinds of rotary positions whose angles depend on the longest row of a batch."""


@dataclass(frozen=True)
class Checked:
    """What a trial told."""

    aligned: bool
    shares: bool
    vocabulary: int
    bytes_per_token: int
    shape: CacheShape


@torch.inference_mode()
def check_model(runner: TransformersRunner) -> Checked:
    """Raise `ModelError` when the model cannot be decoded by a cache of keys and values."""
    config = runner.model.config
    _refuse_other_state(runner.model, config)
    chunk, runner.chunk = runner.chunk, CHUNK
    least, runner.least_shared = runner.least_shared, 1
    try:
        ids = _some_tokens(runner)
        long, short, answer = ids[:LONG], ids[LONG : LONG + SHORT], ids[-ANSWER:]
        try:
            truth = [runner.reference(prompt, answer) for prompt in (long, short)]
            alone, block = _alone(runner, long, answer)
        except Exception as error:
            if is_out_of_memory(error):
                raise explain(error, type(runner.model).__name__) from error
            # Models that keep another state fail in as many ways as there are of them.
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"{type(runner.model).__name__} cannot be decoded with a cache of keys and values: {first}"
            ) from error
        scale = float(truth[0].abs().max())
        noise = float((alone - truth[0]).abs().max())
        tolerance = TOLERANCE.get(runner.model.dtype, TOLERANCE[torch.bfloat16])
        if not noise <= tolerance * scale:
            raise ModelError(
                f"with its cache {type(runner.model).__name__} gives other logits than without "
                f"(they differ by {noise:.2g}, the largest is {scale:.2g})"
            )
        padding_tolerance = max(1e-4 * scale, PADDING_NOISE * noise)
        aligned = not _moves(config) and _decodes_alike(
            runner, (long, short), (0, 1), answer, truth, padding_tolerance
        )
        shares = aligned and runner.shares and not runner.model.config.is_encoder_decoder
        if shares:
            # Sums in another order: in bf16 that shows more than a row by itself does.
            shares = _decodes_alike(runner, (long, short), (0, 1, 0), answer, truth, tolerance * scale)
        return Checked(
            aligned, shares, alone.shape[-1], block.bytes // block.length, _shape(runner.model, block)
        )
    finally:
        runner.chunk, runner.least_shared = chunk, least
        runner.shrink(0)


def _shape(model: Any, block: Block) -> CacheShape:
    """What its cache keeps of a token; keys and values may differ in size, and layers from each other."""
    shapes = {tuple(part.shape) for pair in block.layers for part in pair or (torch.empty(0),)}
    hidden = model.get_input_embeddings().weight.shape[1]
    if len(shapes) > 1:
        return CacheShape(len(block.layers), 0, 0, hidden, model.config.is_encoder_decoder)
    heads, _, size = shapes.pop()
    return CacheShape(len(block.layers), heads, size, hidden, model.config.is_encoder_decoder)


def _refuse_other_state(model: Any, config: Any) -> None:
    kinds = set(getattr(config.get_text_config(decoder=True), "layer_types", None) or ())
    strange = sorted(kind for kind in kinds if "linear" in kind or kind in ("conv", "mamba", "hybrid"))
    if model._is_stateful or strange:
        raise ModelError(
            f"{type(model).__name__} keeps a state that is no cache of keys and values"
            + (f" (layers of type {', '.join(strange)})" if strange else ""),
            hint="the engine serves models with attention in every layer: Llama, Qwen, GPT-2, T5 …",
        )


def _some_tokens(runner: TransformersRunner) -> list[int]:
    """Tokens that mean nothing to the model; those with a role are left out where possible."""
    config = runner.model.config
    size = int(runner.model.get_input_embeddings().weight.shape[0])
    roles = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    taken = {getattr(config, role, None) for role in roles if not isinstance(getattr(config, role, 0), list)}
    free = [token for token in range(3, min(size, 1000)) if token not in taken] or [0]
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(0, len(free), (LONG + SHORT + ANSWER,), generator=generator)
    return [free[int(pick)] for pick in picks]


def _alone(runner: TransformersRunner, prompt: list[int], answer: list[int]) -> tuple[torch.Tensor, Block]:
    """Logits [n + 1, V] of one sequence by itself, and the keys and values of its beginning."""
    reading = runner.begin(prompt)
    logits = [_read(runner, reading)]
    row = runner.open(reading, len(answer), alone=True)
    logits += [runner.decode([row], [token])[0] for token in answer]
    block = reading.blocks[0]
    runner.close(row)
    runner.forget(reading)
    return torch.stack(logits), block


def _read(runner: TransformersRunner, reading: Any) -> torch.Tensor:
    logits = None
    while reading.remaining:
        logits = runner.advance(reading)
    assert logits is not None
    return logits


def _decodes_alike(
    runner: TransformersRunner,
    prompts: tuple[list[int], list[int]],
    order: tuple[int, ...],
    answer: list[int],
    truth: list[torch.Tensor],
    tolerance: float,
) -> bool:
    """Whether rows of the prompts in this order, decoded together, give what each prompt gives by itself:
    `(0, 1)` tries padding, `(0, 1, 0)` also two samples over one copy of their prompt, around a row that has
    nothing in common with them."""
    readings = [runner.begin(prompt, samples=order.count(place)) for place, prompt in enumerate(prompts)]
    rows = []
    try:
        for reading in readings:
            _read(runner, reading)
        for place in order:
            rows.append(runner.open(readings[place], len(answer)))
        # The first is one token ahead: where the prompt is an encoder's, that alone makes rows differ.
        runner.decode(rows[:1], answer[:1])
        for number in range(1, len(answer)):
            at = [number, *[number - 1] * (len(order) - 1)]
            logits = runner.decode(rows, [answer[place] for place in at])
            wanted = torch.stack([truth[one][place + 1] for one, place in zip(order, at, strict=True)])
            if not float((logits - wanted).abs().max()) <= tolerance:
                return False
        return True
    except Exception:
        # A model that knows no padding, or no such attention, may fail as well as answer wrongly.
        return False
    finally:
        for row in rows:
            runner.close(row)
        for reading in readings:
            runner.forget(reading)


def _moves(config: Any) -> bool:
    """Whether the angles of rotary positions depend on the longest row."""
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    kinds = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    return any(kind.get("rope_type") in MOVING_ROPE for kind in kinds)
