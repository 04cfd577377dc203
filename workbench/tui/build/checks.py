"""What is wrong with a design or worth knowing about it, and the changes that would mend it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.recipe.families import default_family
from workbench.tui.build.attention_checks import attention_findings
from workbench.tui.build.design import Design
from workbench.tui.build.fields import field_of
from workbench.tui.build.finding import Finding as Finding
from workbench.tui.build.finding import Repair as Repair
from workbench.tui.build.rope_checks import rope_findings
from workbench.tui.form.recipe_draft import RecipeDraft
from workbench.tui.form.schema import form_fields

ROTARY = ("llama", "modernbert")
LARGEST_FLASH_HEAD = 256
VOCABULARY_MULTIPLE = 64


def findings_of(draft: RecipeDraft, design: Design) -> list[Finding]:
    """Everything that the sizes themselves tell, wrong things first."""
    found = [
        *_shape(design),
        *_fits_together(draft, design),
        *attention_findings(design),
        *rope_findings(design),
    ]
    known = {key for finding in found for key in finding.keys}
    found += _other_problems(draft, known)
    found += _advice(draft, design)
    order = ("wrong", "warn", "note")
    return sorted(found, key=lambda finding: order.index(finding.level))


def _shape(design: Design) -> Iterator[Finding]:
    section, name = design.section, design.family.name
    hidden, heads = section.hidden_size, section.num_attention_heads
    even = name in ROTARY
    if hidden % heads:
        message = f"hidden_size {hidden:,} is not divisible by num_attention_heads {heads:,}"
        yield Finding("wrong", (HEADS, HIDDEN), message, _head_repairs(design, even))
    elif even and hidden // heads % 2:
        message = f"a head is {hidden // heads:,} wide, which is odd; rotary positions turn pairs"
        yield Finding("wrong", (HEADS, HIDDEN), message, _head_repairs(design, even))
    groups = section.key_value_heads
    if name == "llama" and heads % groups:
        message = f"{heads:,} query heads cannot share {groups:,} key/value heads evenly"
        nearest = _nearest(groups, _divisors(heads))
        repairs = [Repair(f"{nearest:,} key/value heads", {GROUPS: nearest})]
        repairs.append(Repair("as many as query heads", {GROUPS: None}))
        yield Finding("wrong", (GROUPS, HEADS), message, tuple(repairs))
    if name == "xlnet" and hidden % 2 and not hidden % heads:
        repair = Repair(f"hidden_size {hidden + heads:,}", {HIDDEN: hidden + heads})
        message = f"hidden_size {hidden:,} is odd; relative positions need an even one"
        yield Finding("wrong", (HIDDEN,), message, (repair,) if (hidden + heads) % 2 == 0 else ())


def _head_repairs(design: Design, even: bool) -> tuple[Repair, ...]:
    """The nearest number of heads that divides the width, and the nearest width for these heads."""
    section = design.section
    hidden, heads, groups = section.hidden_size, section.num_attention_heads, section.num_key_value_heads
    step = heads * (2 if even else 1)
    fitting = [count for count in _divisors(hidden) if not even or hidden // count % 2 == 0]
    repairs = []
    if fitting:
        count = _nearest(heads, fitting)
        words, values = f"{count:,} heads would fit, {hidden // count:,} wide", {HEADS: count}
        if design.family.name == "llama" and groups and count % groups:
            values[GROUPS] = _nearest(groups, _divisors(count))
            words += f", {values[GROUPS]:,} key/value"
        repairs.append(Repair(words, values))
    width = max(step * round(hidden / step), step * -(-8 // step))
    repairs.append(Repair(f"hidden_size {width:,} would fit", {HIDDEN: width}))
    return tuple(repairs)


def _fits_together(draft: RecipeDraft, design: Design) -> Iterator[Finding]:
    section, context = design.section, design.section.context
    if design.length > context and draft.value(field_of(LENGTH)):
        message = f"rows of {design.length:,} tokens are longer than the context of {context:,}"
        shorter = Repair(f"rows of {context:,} tokens", {LENGTH: context})
        unstretched = -(-design.length * section.max_position_embeddings // max(1, context))
        longer = Repair(f"a context of {design.length:,}", {CONTEXT: unstretched})
        yield Finding("wrong", (LENGTH, CONTEXT), message, (shorter, longer))
    own = design.family.trained_by
    if design.objective not in own:
        message = f"{design.objective} does not train a {design.family.title}"
        family = default_family(design.objective)
        other = Repair(f"family {family}", {"model.family": family})
        yield Finding(
            "wrong",
            ("objective.name", "model.family"),
            message,
            (Repair(f"objective {own[0]}", {"objective.name": own[0]}), other),
        )
    if design.family.name == "bart" and design.blocks_of_documents:
        message = "BART's decoder cannot keep packed documents apart; a run would refuse"
        alone = Repair("one document a row", {"data.packing": False})
        across = Repair("train across documents", {"data.isolate_documents": False})
        yield Finding("warn", ("data.packing",), message, (alone, across))
    if draft.value(field_of("training.bf16")) is True and draft.value(field_of("training.fp16")) is True:
        repairs = (
            Repair("bf16 alone", {"training.fp16": False}),
            Repair("fp16 alone", {"training.bf16": False}),
        )
        yield Finding("wrong", ("training.bf16", "training.fp16"), "bf16 and fp16 are both on", repairs)
    if section.family == "modernbert" and section.local_attention // 2 >= design.length:
        message = f"the window {section.local_attention:,} covers the whole row: no layer is local"
        share = max(2, design.length // 8)
        yield Finding("note", (WINDOW,), message, (Repair(f"window {share:,}", {WINDOW: share}),))


def _other_problems(draft: RecipeDraft, known: set[str]) -> Iterator[Finding]:
    """What the recipe itself refuses and nothing above has explained."""
    seen: set[str] = set()
    for key, message in draft.problems.items():
        if key in known or message in seen:
            continue
        seen.add(message)
        fields = [entry for entry in form_fields() if entry.key == key]
        repairs: tuple[Repair, ...] = ()
        if fields and draft.changed(fields[0]):
            words = f"back to {draft.base_text(fields[0]) or 'empty'}"
            repairs = (Repair(words, {key: draft.base_value(fields[0])}),)
        elif fields and fields[0].default is not None:
            repairs = (Repair(f"{fields[0].name} {fields[0].default}", {key: fields[0].default}),)
        yield Finding("wrong", (key,), f"{key}: {message}", repairs)


def _advice(draft: RecipeDraft, design: Design) -> Iterator[Finding]:
    section = design.section
    size, vocabulary = section.hidden_size // section.num_attention_heads, section.vocab_size
    if size > LARGEST_FLASH_HEAD and not section.hidden_size % section.num_attention_heads:
        yield Finding(
            "warn", (HEADS,), f"heads are {size:,} wide; fast attention stops at {LARGEST_FLASH_HEAD}"
        )
    if section.tokenizer_name_or_path:
        yield from _tokenizer_findings(section.tokenizer_name_or_path, vocabulary)
    elif vocabulary >= 8192 and vocabulary % VOCABULARY_MULTIPLE:
        wanted = -(-vocabulary // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        message = f"a vocabulary of {vocabulary:,} is no multiple of {VOCABULARY_MULTIPLE}: slower on GPUs"
        yield Finding("note", (VOCABULARY,), message, (Repair(f"{wanted:,} entries", {VOCABULARY: wanted}),))


def _tokenizer_findings(name: str, vocabulary: int) -> Iterator[Finding]:
    from pathlib import Path

    from workbench.models.estimate.shape import tokenizer_size

    size = tokenizer_size(Path(name).expanduser())
    if size is not None and size != vocabulary:
        message = f"the tokenizer has {size:,} entries, and the model will too"
        yield Finding("note", (VOCABULARY,), message, (Repair(f"{size:,} entries", {VOCABULARY: size}),))


def _divisors(number: int) -> list[int]:
    low = [count for count in range(1, int(number**0.5) + 1) if number % count == 0]
    return sorted({*low, *(number // count for count in low)})


def _nearest(wanted: int, among: list[int]) -> int:
    return min(among, key=lambda count: (abs(count - wanted), -count))


HEADS, GROUPS = "model.num_attention_heads", "model.num_key_value_heads"
HIDDEN, VOCABULARY = "model.hidden_size", "model.vocab_size"
LENGTH, CONTEXT, WINDOW = "data.max_length", "model.max_position_embeddings", "model.local_attention"
