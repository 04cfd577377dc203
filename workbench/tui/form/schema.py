"""The fields of a form, read off the recipe's sections. Importing it imports pydantic."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workbench.recipe import Recipe

Kind = Literal["text", "integer", "number", "bool", "choice", "list", "yaml"]


@dataclass(frozen=True)
class FormField:
    """One field: how it is typed in, what it may be, and what it is for.

    `label` stands in the place of its name, where the name alone would not say enough.
    """

    section: str
    name: str
    kind: Kind
    optional: bool
    choices: tuple[str, ...]
    default: Any
    limits: str
    help: str
    item: type[BaseModel] | None = None
    label: str = ""

    @property
    def key(self) -> str:
        """The dotted key, as in an override."""
        return f"{self.section}.{self.name}"

    @property
    def type_words(self) -> str:
        """Its type and limits in a few words."""
        words = " | ".join(self.choices) if self.choices else self.kind
        words += f" {self.limits}" if self.limits else ""
        return f"{words}, or empty" if self.optional else words


@cache
def form_fields() -> tuple[FormField, ...]:
    """Every field of a recipe, in the order of its sections."""
    return tuple(
        field
        for section, part in Recipe.model_fields.items()
        if isinstance(part.annotation, type) and issubclass(part.annotation, BaseModel)
        for field in section_fields(section, part.annotation)
    )


def section_fields(section: str, model: type[BaseModel]) -> list[FormField]:
    """The fields of one section, as its class says them."""
    return [_field(section, name, info) for name, info in model.model_fields.items()]


def _field(section: str, name: str, info: FieldInfo) -> FormField:
    kind, optional, choices, item = _kind(info.annotation)
    default = info.get_default(call_default_factory=True)
    if isinstance(default, (list, tuple)):
        default = [
            entry.model_dump(mode="json") if isinstance(entry, BaseModel) else entry for entry in default
        ]
    return FormField(
        section, name, kind, optional, choices, default, _limits(info), info.description or "", item
    )


def _kind(annotation: Any) -> tuple[Kind, bool, tuple[str, ...], type[BaseModel] | None]:
    """(kind, whether it may be empty, choices, the section its items are)."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1:
            kind, _, choices, item = _kind(inner[0])
            return kind, True, choices, item
        return "yaml", len(inner) < len(arguments), (), None
    if origin is Literal:
        texts = all(isinstance(argument, str) for argument in arguments)
        return ("choice", False, tuple(arguments), None) if texts else ("yaml", False, (), None)
    if origin in (list, tuple):
        # A tuple is a list that code cannot change; it is typed in alike.
        inner_type = arguments[0] if arguments else str
        if isinstance(inner_type, type) and issubclass(inner_type, BaseModel):
            return "list", False, (), inner_type
        return "list", False, (), None
    plain: dict[Any, Kind] = {bool: "bool", int: "integer", float: "number", str: "text"}
    return plain.get(annotation, "yaml"), False, (), None


def _limits(info: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(constraint, name):,}"
        for constraint in info.metadata
        for name, sign in signs.items()
        if getattr(constraint, name, None) is not None
    ]
    return " and ".join(found)
