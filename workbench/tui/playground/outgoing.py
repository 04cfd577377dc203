"""What is sent: a prompt with its values, behind the conversation so far, as a task for a technique."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.tui.playground.setup import Setup

if TYPE_CHECKING:
    from workbench.inference.generation import Message
    from workbench.prompting.composition import Composition
    from workbench.prompting.prompt import Prompt
    from workbench.prompting.technique import Task

QUESTION, SYSTEM = "question", "system"
FREE = 'user: "{{ question }}"\n'
FREE_WITH_SYSTEM = 'system: "{{ system }}"\n' + FREE
"""Free text as prompts, so that there is one way in which everything is sent."""


@dataclass(frozen=True)
class Outgoing:
    """One thing to send. `text` is the prompt's YAML, empty for free text; `system` takes the place of its
    system message where it is not None; `earlier` is the conversation that it goes on with. A soft prompt
    stands in the place of any system message, unless the setup keeps it."""

    question: str
    setup: Setup
    name: str = ""
    text: str = ""
    values: Mapping[str, Any] | None = None
    system: str | None = None
    earlier: tuple[Message, ...] = ()

    @property
    def _is_replaced(self) -> bool:
        """Whether a soft prompt stands where the system message would."""
        return bool(self.setup.soft_prompt) and not self.setup.keeps_system

    @property
    def _system(self) -> str | None:
        return "" if self._is_replaced else self.system

    def prompt(self) -> Prompt:
        """The prompt it goes through. Raises `PromptError`."""
        from workbench.prompting.prompt import parse_prompt

        system = self._system
        if not self.text:
            return parse_prompt(FREE_WITH_SYSTEM if system else FREE, "free text")
        prompt = parse_prompt(self.text, self.name)
        if system is None:
            return prompt
        content = prompt.content.model_copy(update={"system": system or None})
        return replace(prompt, content=content)

    def task(self, prompt: Prompt) -> Task:
        """The task. Raises `PromptError`."""
        values = dict(self.values or {})
        if not self.text:
            values = {QUESTION: self.question, SYSTEM: self._system or ""}
        task = prompt.render(values)
        if self.earlier:
            asked = {"role": "user", "content": self.question}
            earlier = [one for one in self.earlier if not self._is_replaced or one["role"] != "system"]
            task = replace(task, question=self.question, messages=(*earlier, asked))
        sampling = dict(self.setup.sampling)
        if "stop" in sampling:
            sampling["stop"] = tuple(sampling["stop"])
        return replace(task, sampling=replace(task.sampling, **sampling), logprobs=self.setup.alternatives)

    def technique(self, prompt: Prompt) -> Composition:
        """The technique: what was chosen, or what the prompt asks for. Raises `PromptError`."""
        from workbench.prompting.composition import build

        return prompt.technique() if self.setup.technique is None else build(self.setup.technique)

    def as_json(self) -> dict[str, Any]:
        """What of it is the same in all columns, for the history."""
        return {
            "question": self.question,
            "prompt": self.name,
            "text": self.text,
            "values": dict(self.values or {}),
            "system": self.system,
        }
