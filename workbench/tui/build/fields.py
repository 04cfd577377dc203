"""Which keys of a recipe the form shows: those that mean something for the family and its estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.recipe.families import COMMON_KEYS, FAMILIES, Family
from workbench.tui.form.draft import Draft
from workbench.tui.form.schema import FormField, form_fields

FAMILY, OBJECTIVE = "model.family", "objective.name"
FOR_ESTIMATES = (
    "data.max_length",
    "data.packing",
    "data.isolate_documents",
    "training.per_device_train_batch_size",
    "training.gradient_accumulation_steps",
    "training.max_steps",
    "training.bf16",
    "training.fp16",
    "training.gradient_checkpointing",
    "launch.num_processes",
)
NO_POSITIONS = ("xlnet",)
"""Families whose positions are relative and unlimited; the key still bounds the rows."""


def family_of(draft: Draft) -> Family:
    """The family that a draft names; the first one's keys are shown where it names none we know."""
    return FAMILIES.get(str(draft.value(field_of(FAMILY))), FAMILIES["llama"])


def field_of(key: str) -> FormField:
    """The field of a dotted key."""
    return next(field for field in form_fields() if field.key == key)


def fields_of(draft: Draft) -> Sequence[FormField]:
    """The fields to show for a draft, in order: family and objective, shape, what is reckoned with."""
    family = family_of(draft)
    objective = replace(field_of(OBJECTIVE), choices=family.trained_by, label="objective")
    shape = [field_of(f"model.{key}") for key in (*COMMON_KEYS, *family.keys)]
    vocabulary = field_of("model.tokenizer_name_or_path")
    return [field_of(FAMILY), objective, vocabulary, *shape, *(field_of(key) for key in FOR_ESTIMATES)]


def group_of(field: FormField) -> str:
    """The heading a field stands under."""
    return "for the estimates" if field.key in FOR_ESTIMATES else "model"


def follow_family(draft: Draft, before: Family) -> Family:
    """Where the family was changed from `before`, take an objective that can train the new one."""
    family = family_of(draft)
    if family != before and draft.value(field_of(OBJECTIVE)) not in family.trained_by:
        draft.reset(field_of(OBJECTIVE))
        if draft.value(field_of(OBJECTIVE)) not in family.trained_by:
            draft.set_value(field_of(OBJECTIVE), family.objectives[0])
    return family
