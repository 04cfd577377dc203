"""What is wrong with a stretched context, and how to mend it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from workbench.recipe.attention_kinds import attention_of
from workbench.rope_extension import METHODS, extension_problem, positions_of
from workbench.tui.build.design import Design
from workbench.tui.build.finding import Finding, Repair

SCALING, FACTOR = "model.rope_scaling", "model.rope_factor"
CONTEXT = "model.max_position_embeddings"
SHARE = 0.5
"""Of this machine's memory, that the keys and values of one text may take without a word."""
BF16 = 2
GIB = 1 << 30


def rope_findings(design: Design) -> Iterator[Finding]:
    """Methods and factors that no model of this kind can take; contexts that this machine cannot hold."""
    section = design.section
    method, factor = section.rope_scaling, section.rope_factor
    if method is None and factor is None:
        return
    none = Repair("leave the context as it is", {SCALING: None, FACTOR: None})
    if "rope_theta" not in design.family.keys:
        message = (
            f"{design.family.title} has {positions_of(section.family)}, and nothing that could be stretched"
        )
        yield Finding("wrong", (SCALING, FACTOR), message, (none,))
        return
    if problem := extension_problem(method, factor, {}):
        repairs = [none]
        if method not in METHODS:
            repairs.insert(0, Repair("YaRN", {SCALING: "yarn"}))
        elif not isinstance(factor, int | float) or not math.isfinite(factor) or factor < 1:
            right = 1 / factor if isinstance(factor, int | float) and 0 < factor < 1 else 4.0
            repairs.insert(0, Repair(f"a factor of {right:g}", {FACTOR: right}))
        yield Finding("wrong", (SCALING, FACTOR), problem, tuple(repairs))
        return
    yield from _memory(design)


def _memory(design: Design) -> Iterator[Finding]:
    import psutil

    section = design.section
    if design.family.name != "llama" or attention_of(section).kind != "full":
        return
    head = section.hidden_size // section.num_attention_heads
    each = 2 * section.num_hidden_layers * section.key_value_heads * head * BF16
    total = int(psutil.virtual_memory().total)
    if each * section.context <= SHARE * total:
        return
    fitting = int(SHARE * total / each / section.max_position_embeddings * 100) / 100
    repairs = (Repair(f"a factor of {fitting:g}", {FACTOR: fitting}),) if fitting >= 1 else ()
    taken = f"{each * section.context / GIB:,.0f} GiB in bf16, and this machine has {total / GIB:,.0f}"
    message = f"keys and values of one text of {section.context:,} tokens take {taken}"
    yield Finding("warn", (FACTOR, CONTEXT), message, repairs)
