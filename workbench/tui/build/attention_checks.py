"""What is worth knowing about the attention of a new decoder, and the changes that would mend it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.recipe.attention_kinds import AttentionShape
from workbench.tui.build.design import Design
from workbench.tui.build.finding import Finding, Repair

ATTENTION, WINDOW = "model.attention", "model.sliding_window"
TOKENS, STRIDE = "model.global_tokens", "model.attention_stride"


def attention_findings(design: Design) -> Iterator[Finding]:
    """Windows that leave nothing out, strides that leave gaps, and who can load what comes of it."""
    if design.family.name != "llama":
        return
    section, attention = design.section, design.section.attention_shape
    context = section.max_position_embeddings
    if attention.window is not None:
        yield from _window(attention, context)
    if attention.stride is not None and attention.window is not None:
        yield from _stride(attention, attention.window, context)
    if not attention.is_native:
        message = "transformers has no such attention: what is saved loads where workbench is installed"
        yield Finding("note", (ATTENTION,), message)
    elif section.qk_norm:
        message = "with QK-norm a CPU computes layers plainly, not by the fused operator"
        yield Finding("note", ("model.qk_norm",), message)


def _window(attention: AttentionShape, context: int) -> Iterator[Finding]:
    window = attention.window or 0
    if window >= context:
        share = max(1, context // 4)
        message = f"the window of {window:,} covers the whole context of {context:,}: full attention"
        repairs = (
            Repair(f"a window of {share:,}", {WINDOW: share}),
            Repair("say so: attention full", {ATTENTION: "full", WINDOW: None, TOKENS: 0, STRIDE: None}),
        )
        yield Finding("warn", (WINDOW, ATTENTION), message, repairs)
    elif attention.global_tokens >= context - window:
        message = f"{attention.global_tokens:,} global tokens and the window see everything: full attention"
        yield Finding("warn", (TOKENS,), message, (Repair("4 global tokens", {TOKENS: 4}),))


def _stride(attention: AttentionShape, window: int, context: int) -> Iterator[Finding]:
    stride = attention.stride or 0
    if stride >= context:
        root = 1 << max(1, round((context.bit_length() - 1) / 2))
        message = f"the stride of {stride:,} is as long as the context: only the window is seen"
        yield Finding("warn", (STRIDE,), message, (Repair(f"a stride of {root:,}", {STRIDE: root}),))
    elif window < stride:
        message = (
            f"a window of {window:,} and a stride of {stride:,}: tokens between are not even reached in two "
            "layers"
        )
        yield Finding(
            "warn", (WINDOW, STRIDE), message, (Repair(f"a window of {stride:,}", {WINDOW: stride}),)
        )
    elif context % stride:
        nearest = min((n for n in range(2, context + 1) if context % n == 0), key=lambda n: abs(n - stride))
        message = (
            f"the stride of {stride:,} does not divide the context of {context:,}: steps differ in length"
        )
        yield Finding("note", (STRIDE,), message, (Repair(f"a stride of {nearest:,}", {STRIDE: nearest}),))
