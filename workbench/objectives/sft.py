"""Supervised fine-tuning: learn what an assistant says (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from workbench.data.records import ExampleStore, TaskRows
from workbench.data.records.answers import prompt_text
from workbench.models.isolation import check_isolation
from workbench.objectives.answer_rows import AnswerRows, PackedAnswerRows
from workbench.objectives.base import Rows
from workbench.objectives.clm import CausalLanguageModeling

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import TokenStore

PROMPTS = 3
"""Held-out questions that samples answer where the recipe names none."""


class SupervisedFineTuning(CausalLanguageModeling):
    """Cross-entropy of what the assistant says, each token with the same weight, and of nothing else."""

    name: ClassVar[str] = "sft"
    is_dense = False

    def rows(self, store: TokenStore | ExampleStore, length: int, *, training: bool) -> Rows:
        """One record a row, or, packed, several that do not see each other."""
        assert isinstance(store, ExampleStore)
        data, section = self.recipe.data, self.recipe.training
        shuffle, everything = training and data.shuffle, not self.recipe.objective.completion_only_loss
        if data.packing:
            rows = TaskRows(store, seed=section.seed, shuffle=shuffle, batch_bucketing=0)
            return PackedAnswerRows(rows, section.seed, shuffle, everything)
        # Of like length by the default group, whatever the batch: the order is the same for any number of
        # processes.
        rows = TaskRows(store, seed=section.seed, shuffle=shuffle)
        return AnswerRows(rows, everything)

    def check(self, model: nn.Module) -> None:
        """The model must keep packed records apart."""
        if self.recipe.data.packing:
            check_isolation(model)

    def default_prompts(self, store: Any) -> list[str]:
        """The first questions that are held out."""
        found = dict.fromkeys(self.question(record) for record in store.records)
        return [question for question in found if question][:PROMPTS]

    def question(self, record: dict[str, Any]) -> str:
        """What a record begins with, where that is the user alone; else nothing."""
        if "messages" not in record:
            return str(record["prompt"])
        first = record["messages"][0]
        return str(first["content"]) if first["role"] == "user" else ""

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """What the model answers; not a continuation, so it begins a line."""
        return {"prompt": f"{prompt}\n", **super().sample(model, prompt)}

    def prompt_of(self, prompt: str) -> str:
        """Through the chat template, as the records are, where there is one."""
        return prompt_text(prompt, self.tokenizer)
