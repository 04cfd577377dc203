"""All techniques by name. Each is loaded when it is first used, so that the list costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from workbench.recipe.section import Section

Role = Literal["asks", "wraps"]


@dataclass(frozen=True)
class TechniqueEntry:
    """A technique: where its class is, whether it sends the requests itself, and a line of help."""

    name: str
    module: str
    attribute: str
    role: Role
    title: str
    help: str

    def load(self) -> Any:
        """The class."""
        return getattr(import_module(self.module), self.attribute)

    def settings(self) -> type[Section]:
        """The class of its settings: every field with its help, for a form or a JSON schema."""
        found: type[Section] = self.load().Settings
        return found


TECHNIQUES: dict[str, TechniqueEntry] = {
    entry.name: entry
    for entry in (
        TechniqueEntry(
            "zero_shot",
            "workbench.prompting.zero_shot",
            "ZeroShot",
            "asks",
            "Zero-shot",
            "the prompt as it is",
        ),
        TechniqueEntry(
            "few_shot",
            "workbench.prompting.few_shot",
            "FewShot",
            "wraps",
            "Few-shot",
            "solved examples before the input: by hand, at random, or the nearest",
        ),
        TechniqueEntry(
            "cot",
            "workbench.prompting.chain_of_thought",
            "ChainOfThought",
            "wraps",
            "Chain of thought",
            "reasoning before the answer, by a nudge or as the examples show",
        ),
        TechniqueEntry(
            "self_consistency",
            "workbench.prompting.self_consistency",
            "SelfConsistency",
            "wraps",
            "Self-consistency",
            "many sampled chains, and a vote on their answers",
        ),
        TechniqueEntry(
            "tools",
            "workbench.prompting.tools.loop",
            "ToolUse",
            "asks",
            "Tools",
            "the model may call tools: a calculator, Python, search, MCP servers",
        ),
        TechniqueEntry(
            "rag",
            "workbench.prompting.retrieval.technique",
            "RetrievalAugmented",
            "wraps",
            "Retrieval",
            "passages of your own documents before the input, cited in the answer",
        ),
    )
}

OUTERMOST_FIRST = ("rag", "few_shot", "self_consistency", "cot", "tools", "zero_shot")
"""The one order that makes sense: what shapes the prompt is done once, the vote is on whole chains, and a
chain reasons and calls tools."""

READING_ORDER = ("rag", "zero_shot", "few_shot", "tools", "cot", "self_consistency")
"""The order in which a composition is named."""
