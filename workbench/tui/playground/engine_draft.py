"""How an engine is to be started, as a draft of a form. Importing it imports pydantic."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field

from workbench.inference.limits import MAX_QUEUE, MAX_SEQUENCES
from workbench.inference.options import add_model_options, as_arguments
from workbench.rope_extension import extension_problem
from workbench.tui.form.schema import FormField, section_fields
from workbench.tui.playground.settings_draft import SettingsDraft

SECTION = "engine"


class EngineSection(BaseModel):
    """The options of `workbench serve` that concern the model and its engine."""

    model_config = ConfigDict(extra="forbid")

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision; auto is bf16 where the device computes in it, else fp32."
    )
    kv_memory: float | None = Field(
        None, gt=0, description="GiB for keys and values; a quarter of what is free if empty."
    )
    kv_dtype: Literal["auto", "int8", "int4"] = Field(
        "auto", description="Keys and values as the model computes, or in 8 or 4 bits: less memory, slower."
    )
    max_sequences: int = Field(MAX_SEQUENCES, ge=1, description="Sequences in one step.")
    max_length: int | None = Field(
        None, ge=1, description="Tokens of prompt and answer together; what the model has if empty."
    )
    rope_scaling: Literal["linear", "ntk", "dynamic", "yarn"] | None = Field(
        None, description="Reads beyond the trained length: position interpolation, NTK, dynamic NTK, YaRN."
    )
    rope_factor: float | None = Field(None, description="rope_scaling: how many times longer the context is.")
    rope_original_length: int | None = Field(
        None, ge=1, description="rope_scaling: the trained length; the model's context if empty."
    )
    adapter: str | None = Field(
        None, description="A folder with a PEFT adapter (LoRA) or a soft prompt to put on top."
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, mps; auto takes the best there is.")
    threads: int | None = Field(None, ge=1, description="Of the CPU; all if empty.")
    max_queue: int = Field(MAX_QUEUE, ge=1, description="Requests that may wait.")
    name: str | None = Field(None, description="What clients call it; the model's own name if empty.")
    revision: str | None = Field(None, description="Of a model from the hub.")
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model.")


class _Refusing(argparse.ArgumentParser):
    """Says nothing to the terminal, which is the interface's."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read_options(options: Sequence[str]) -> dict[str, Any]:
    """Options of the command line as values; as by default where they cannot be read."""
    parser = _Refusing(add_help=False)
    add_model_options(parser)
    try:
        return vars(parser.parse_args(list(options)))
    except (ValueError, argparse.ArgumentError):
        return vars(parser.parse_args([]))


class EngineDraft(SettingsDraft):
    """The options that an engine is started with."""

    def __init__(self, options: Sequence[str]) -> None:
        """`options` are those of the present choice."""
        super().__init__({SECTION: EngineSection().model_dump()})
        values = read_options(options)
        self._soft_prompts: list[str] = values["soft_prompt"]
        for field in self.fields():
            self.set_value(field, values[field.name])

    def fields(self) -> Sequence[FormField]:
        """All of them."""
        return section_fields(SECTION, EngineSection)

    def heading(self, field: FormField) -> str:
        """See `SettingsDraft`."""
        return "as in workbench serve"

    @property
    def options(self) -> tuple[str, ...]:
        """As words of the command line, without what is as by default."""
        values = self.section(SECTION)
        if values["adapter"]:
            values["adapter"] = str(Path(values["adapter"]).expanduser().absolute())
        return tuple(as_arguments(argparse.Namespace(**values, soft_prompt=self._soft_prompts)))

    def _find_problems(self) -> dict[str, str]:
        found = super()._find_problems()
        found.update(self._check(SECTION, EngineSection))
        adapter = self.section(SECTION)["adapter"]
        if isinstance(adapter, str) and adapter and not Path(adapter).expanduser().is_dir():
            found.setdefault(f"{SECTION}.adapter", "there is no such folder")
        extension = [
            self.section(SECTION)[f"rope_{name}"] for name in ("scaling", "factor", "original_length")
        ]
        problem = extension_problem(extension[0], extension[1], {"original_length": extension[2]})
        if problem:
            found.setdefault(f"{SECTION}.rope_{'factor' if extension[0] else 'scaling'}", problem)
        return found
