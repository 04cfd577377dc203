"""The data section: sources, and how they become rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from workbench.recipe.section import Section

DataKind = Literal[
    "text",
    "conversation",
    "prompt_completion",
    "prompt",
    "preference",
    "ranking",
    "binary_feedback",
    "classification",
    "regression",
    "tagging",
    "span_extraction",
]


class SourceSpec(Section):
    """One place that text comes from."""

    path: str = Field(
        description="A file, a glob, a folder, `stdlib:` (sources and docstrings of the running Python), "
        "or the name or folder of a Hugging Face data set."
    )
    weight: float = Field(
        1.0, gt=0, description="How often its documents are seen in an epoch: 2 is twice, 0.5 every other."
    )
    text_column: str = Field("text", description="The column that holds the text of a record.")
    config_name: str | None = Field(None, description="Configuration of a Hugging Face data set.")
    split: str = Field("train", description="Split of a Hugging Face data set.")
    limit: int | None = Field(None, ge=1, description="Read at most this many documents.")
    kind: DataKind | None = Field(
        None, description="What its records are. Empty: detected from the columns, and said."
    )
    columns: dict[str, str] | list[str] | None = Field(
        None,
        description="Other names for columns, as name: column in the file; "
        "or, as a list, the names of the columns of a file without a header line.",
    )


def _sources(value: Any) -> Any:
    """Accept `a.txt`, `[a.txt, b.txt]` and `[{path: a.txt, weight: 2}]` alike."""
    if isinstance(value, (str, dict)):
        value = [value]
    return [_source(item) for item in value] if isinstance(value, list) else value


def _source(item: Any) -> Any:
    # YAML reads an unquoted `stdlib:` as a mapping with an empty value.
    word = "stdlib:" if item == {"stdlib": None} else item
    return {"path": word} if isinstance(word, str) else item


Sources = Annotated[list[SourceSpec], BeforeValidator(_sources)]


class DataSection(Section):
    """What is trained on, and how text becomes rows."""

    sources: Sources = Field(
        default_factory=lambda: [SourceSpec(path="stdlib:")],
        min_length=1,
        description="Where the text comes from; several are mixed by weight.",
    )
    eval_sources: Sources = Field(
        default_factory=list, description="Held-out text from its own sources. Empty: split from `sources`."
    )
    eval_fraction: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Share of the documents held out for evaluation; of the text where documents are few.",
    )
    max_length: int | None = Field(
        None, ge=8, description="Tokens in a row. Empty: the model's context length, at most 2,048."
    )
    packing: bool = Field(
        True, description="Fill rows with several documents. Off: one document, or piece of one, a row."
    )
    isolate_documents: bool = Field(
        True,
        description="In a packed row, no token attends to another document; positions start at 0 in each.",
    )
    chat_template: str | None = Field(
        None,
        description="sft: a template of the workbench (chatml, gemma, llama3, mistral, qwen2.5, smollm2), or "
        "a file with one; it is saved with the model. Empty: the tokenizer's own.",
    )
    shuffle: bool = Field(True, description="Another document order in each epoch, by the seed.")
    num_workers: int | None = Field(
        None, ge=1, description="Threads that tokenise. Empty: as many as the machine has cores."
    )
