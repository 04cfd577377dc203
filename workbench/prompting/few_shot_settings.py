"""Where demonstrations come from, which are shown, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.prompting.examples import Columns
from workbench.recipe.section import Section


class FewShotSettings(Section):
    """Where demonstrations come from, which are shown, and how."""

    file: str | None = Field(
        None, description="Examples: a .jsonl, .csv or .tsv file, here or beside the prompts."
    )
    examples: tuple[dict[str, Any], ...] = Field(
        (), description="Examples written out, each a mapping of columns. Or give a `file`."
    )
    columns: Columns = Field(default_factory=Columns, description="Which columns hold what.")
    header: tuple[str, ...] = Field((), description="Names of the columns of a file without a header line.")
    count: int = Field(4, ge=1, le=1000, description="Most demonstrations to show.")
    choose: Literal["first", "random", "by_hand", "nearest"] = Field(
        "random",
        description="first, random (under `seed`), by_hand (those in `pick`), or nearest to the input.",
    )
    pick: tuple[int | str, ...] = Field(
        (), description="By hand: ids, or rows counted from 0, in the order they are shown in."
    )
    seed: int = Field(0, description="Random: draws the same examples for every input.")
    retriever: Literal["bm25", "dense"] = Field(
        "bm25", description="Nearest: by words (bm25), or by meaning through an embedding model (dense)."
    )
    nearest_last: bool = Field(True, description="Nearest: the nearest one stands right before the input.")
    style: Literal["turns", "message"] = Field(
        "turns", description="As turns of the conversation, or all in one message with the input."
    )
    question_prefix: str = Field("Q: ", description="One message: what stands before each input.")
    answer_prefix: str = Field("A: ", description="One message: what stands before each answer.")
    input: str | None = Field(
        None, description="A template over the columns for the input. Empty: the prompt's own."
    )
    output: str | None = Field(
        None,
        description="A template over the columns for the answer. Empty: the answer, its rationale before it.",
    )
    rationales: bool | None = Field(
        None, description="Show rationales before the answers. Empty: in few-shot chain of thought."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> FewShotSettings:
        if (self.file is None) == (not self.examples):
            raise ValueError("demonstrations come either from a file or from examples")
        if bool(self.pick) != (self.choose == "by_hand"):
            raise ValueError("pick goes with choose: by_hand, and by_hand with pick")
        if self.header and self.file is None:
            raise ValueError("header names the columns of a file")
        return self

    def in_words(self) -> str:
        """How demonstrations are chosen and ordered."""
        if self.choose == "nearest":
            return f"nearest by {self.retriever}, the nearest {'last' if self.nearest_last else 'first'}"
        words = {"first": "the first", "by_hand": "by hand", "random": f"at random under seed {self.seed}"}
        return words[self.choose]
