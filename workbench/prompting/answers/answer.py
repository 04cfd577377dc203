"""Which kind of answer a prompt asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.recipe.section import Section

Kind = Literal["number", "choice", "yes_no", "text", "json"]

LETTERS = ("A", "B", "C", "D", "E")


class Answer(Section):
    """What to look for in what the model writes; a bare word is the kind."""

    kind: Kind = Field(
        "text",
        description="number, choice (a letter or one of the options), yes_no, text, or json (a value in it).",
    )
    options: tuple[str, ...] = Field(
        LETTERS, min_length=2, description="What can be chosen (choice): letters, or words such as labels."
    )
    field: str = Field("", description="Where the answer stands in the JSON, as in `result.value` (json).")

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Answer:
        if "options" in self.model_fields_set and self.kind != "choice":
            raise ValueError(f"options are for the kind choice, this is {self.kind}")
        if self.field and self.kind != "json":
            raise ValueError(f"a field is for the kind json, this is {self.kind}")
        folded = [option.strip().casefold() for option in self.options]
        if len(set(folded)) < len(folded) or not all(folded):
            raise ValueError("options are all different, and none is empty")
        return self

    @property
    def lettered(self) -> bool:
        """Whether the options are single letters."""
        return all(len(option) == 1 and option.isalpha() for option in self.options)
