"""Whether a model computes a flat row as its separate rows: asked of the model itself, not of a list."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from workbench.models.attention.attend import NAME as BLOCKS
from workbench.models.rope_scaling import is_moving
from workbench.models.shared_prompt.plan import plan_arrays, plan_of

PROMPTS, COMPLETIONS = (7, 3), ((4, 6), (5, 2, 3))
"""Tokens of what the model is asked with."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
"""How far logits may be apart, as a share of the largest; half precision rounds to three digits."""
COARSE = 0.05


def share_prompts(model: Any, length: int) -> str | None:
    """Have a decoder, bare or with adapters of PEFT, take flat rows with a `row_plan` from now on, if it
    computes them as it does separate rows of up to `length` tokens. Returns None, or why it does not, and
    then leaves it as it was."""
    base = _base(model)
    if reason := _obstacle(base):
        return reason
    before = base.config._attn_implementation
    try:
        take_shared_prompts(model)
        difference, windows = _difference(model)
    except Exception as error:
        # Foreign models raise whatever they please at arguments they do not know.
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"it does not take flat rows: {words[:200]}"
    else:
        window = getattr(base.config.get_text_config(), "sliding_window", None)
        if difference > TOLERANCE.get(next(base.parameters()).dtype, COARSE):
            reason = (
                f"it does not keep the completions of a flat row apart (logits differ by {difference:.2g})"
            )
        elif window is not None and length > window and window not in windows:
            reason = f"rows of {length:,} tokens are longer than its window of {window:,}"
        else:
            return None
    with suppress(Exception):
        base.set_attn_implementation(before)
    return reason


def take_shared_prompts(model: Any) -> None:
    """Have a model take such rows of which another process has found out that it computes them so."""
    from workbench.models.shared_prompt.attention import IMPLEMENTATION

    _base(model).set_attn_implementation(IMPLEMENTATION)


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _obstacle(base: Any) -> str | None:
    config = getattr(base, "config", None)
    if config is None or not hasattr(base, "set_attn_implementation"):
        return "it is no model of transformers"
    if getattr(base, "_compiled_call_impl", None) is not None:
        return "it is compiled, and every flat row has another shape"
    if config._attn_implementation not in ("sdpa", BLOCKS):
        return f"its attention is {config._attn_implementation}, not PyTorch's"
    if is_moving(config):
        return "its rotary angles depend on how long each answer is (dynamic NTK)"
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    if other := kinds - {"full_attention", "sliding_attention"}:
        return f"it has layers of {', '.join(sorted(other))}"
    return None


@torch.no_grad()
def _difference(model: Any) -> tuple[float, set[int | None]]:
    """By how much the logits of a flat row and of separate rows differ, as a share of the largest; and the
    windows of the model's layers, as far as these tell them to attention."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        device = next(model.parameters()).device
        vocabulary = int(model.get_input_embeddings().weight.shape[0])
        size = sum(PROMPTS) + sum(map(sum, COMPLETIONS))
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, vocabulary, (size,), generator=generator).to(device)
        flat, windows = flat_logits(model, ids)
        worst = largest = 0.0
        place = 0
        for prompt, sizes in zip(PROMPTS, COMPLETIONS, strict=True):
            own = torch.arange(place, place + prompt)
            place += prompt
            for count in sizes:
                row = torch.cat([own, torch.arange(place, place + count)])
                alone = model(input_ids=ids[row][None], use_cache=False).logits[0]
                worst = max(worst, float((flat[row] - alone).abs().max()))
                largest = max(largest, float(alone.abs().max()))
                place += count
        return worst / max(largest, 1e-6), windows
    finally:
        for part in training:
            part.training = True


def flat_logits(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, set[int | None]]:
    """Logits [N, V] of the flat row that `PROMPTS` and `COMPLETIONS` are the lengths of, and the windows."""
    from workbench.models.shared_prompt.attention import flat_mask

    arrays, layout = plan_arrays(PROMPTS, COMPLETIONS)
    tensors = {name: torch.from_numpy(array).to(ids.device) for name, array in arrays.items()}
    plan = plan_of(tensors, layout)
    output = model(
        input_ids=ids[None],
        position_ids=tensors["position_ids"],
        attention_mask=flat_mask(ids.device),
        row_plan=plan,
        use_cache=False,
    )
    return output.logits[0], plan.windows
