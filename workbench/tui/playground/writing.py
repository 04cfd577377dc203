"""What is being written: free text, or the variables of a prompt file, each in a slot of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from workbench.tui.playground.outgoing import QUESTION, SYSTEM, Outgoing
from workbench.tui.playground.setup import Setup

if TYPE_CHECKING:
    from workbench.inference.generation import Message
    from workbench.prompting.prompt import Prompt

SlotKind = Literal["input", "variable", "system"]


@dataclass
class Slot:
    """One text to fill in. `usual` is what it is where nobody says otherwise."""

    name: str
    kind: SlotKind
    text: str = ""
    usual: str = ""
    about: str = ""
    required: bool = False


@dataclass(frozen=True)
class OpenedPrompt:
    """A prompt as the interface needs it: plain values only. `path` is empty for one that is in no file."""

    name: str
    text: str
    description: str = ""
    slots: tuple[Slot, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    technique: list[dict[str, Any]] = field(default_factory=list)


def opened(prompt: Prompt) -> OpenedPrompt:
    """A prompt opened. Raises `PromptError` when its technique makes no sense."""
    technique = prompt.technique()
    slots = [
        Slot(
            variable.name,
            "input" if variable.name == prompt.input else "variable",
            _as_text(variable.default) if not variable.required else "",
            _as_text(variable.default) if not variable.required else "",
            variable.description,
            variable.required,
        )
        for variable in prompt.variables
    ]
    slots.sort(key=lambda slot: slot.kind != "input")
    if prompt.content.system is not None:
        system = prompt.content.system
        slots.append(Slot(SYSTEM, "system", system, system, "the prompt's system message, a template"))
    drawn = prompt.content.sampling.model_dump(exclude_none=True)
    if prompt.content.stop:
        drawn["stop"] = list(prompt.content.stop)
    return OpenedPrompt(
        prompt.name, prompt.text, prompt.description, tuple(slots), drawn, technique.specification()
    )


def free_slots() -> list[Slot]:
    """Free text, and a system message before it."""
    return [
        Slot(QUESTION, "input", about="what you say", required=True),
        Slot(SYSTEM, "system", about="who the model is to be, and what it must heed"),
    ]


class Writing:
    """The prompt in use and what is written in its slots."""

    def __init__(self) -> None:
        self.prompt: OpenedPrompt | None = None
        self.slots = free_slots()
        self.current = 0
        self.goes_on = True

    @property
    def name(self) -> str:
        """What the prompt is called, empty for free text."""
        return self.prompt.name if self.prompt is not None else ""

    @property
    def slot(self) -> Slot:
        """The slot being written."""
        return self.slots[self.current]

    @property
    def question(self) -> str:
        """The bare input, or what comes closest."""
        return next((slot.text for slot in self.slots if slot.kind == "input"), self.slots[0].text)

    def open(self, prompt: OpenedPrompt | None) -> None:
        """Write in another prompt, or free text; what was typed stays as the input of the new one."""
        typed = self.question if not self.prompt or self.slots[0].kind == "input" else ""
        self.prompt = prompt
        self.slots = [Slot(**vars(slot)) for slot in prompt.slots] if prompt is not None else free_slots()
        if not self.slots:
            self.slots = [Slot(QUESTION, "input", about="the prompt has nothing to fill in")]
        self.current = 0
        self.goes_on = prompt is None
        if typed and self.slots[0].kind == "input" and not self.slots[0].text:
            self.slots[0].text = typed

    def turn(self, by: int) -> None:
        """Go to the next slot."""
        self.current = (self.current + by) % len(self.slots)

    def fill(self, question: str) -> None:
        """Put a text where the input stands."""
        for slot in self.slots:
            if slot.kind == "input":
                slot.text = question
                return
        self.slots[0].text = question

    def missing(self) -> str:
        """The first slot that must be filled in and is empty, or nothing."""
        return next((slot.name for slot in self.slots if slot.required and not slot.text.strip()), "")

    def outgoing(self, setup: Setup, earlier: tuple[Message, ...]) -> Outgoing:
        """What is to be sent."""
        system = next((slot for slot in self.slots if slot.kind == SYSTEM), None)
        changed = system is not None and system.text != system.usual
        return Outgoing(
            self.question,
            setup,
            self.name,
            self.prompt.text if self.prompt is not None else "",
            {slot.name: _value(slot) for slot in self.slots if slot.kind != "system" and slot.text},
            system.text if system is not None and changed else None,
            earlier,
        )

    def restore(self, sent: Mapping[str, Any]) -> None:
        """Fill the slots with what was sent before; the prompt is the one that is open."""
        values = {**(sent.get("values") or {}), QUESTION: sent.get("question", "")}
        for slot in self.slots:
            if slot.kind == "system":
                slot.text = slot.usual if sent.get("system") is None else str(sent["system"])
            elif slot.name in values:
                slot.text = _as_text(values[slot.name])


def as_yaml(writing: Writing) -> str:
    """The prompt as a file: its own, with the system message as it is now, or one made of free text."""
    from workbench.recipe import yaml_file

    system = next((slot.text for slot in writing.slots if slot.kind == "system"), "")
    if writing.prompt is None:
        mapping = {"system": system} if system else {}
        return yaml_file.write({**mapping, "user": writing.question or "{{ question }}"})
    usual = next((slot.usual for slot in writing.slots if slot.kind == "system"), "")
    if system == usual:
        return writing.prompt.text
    return yaml_file.write({**yaml_file.parse(writing.prompt.text, writing.name), "system": system})


def _as_text(value: Any) -> str:
    """The value of a variable as one would type it."""
    if isinstance(value, str) or value is None:
        return value or ""
    import json

    return json.dumps(value, ensure_ascii=False)


def _value(slot: Slot) -> Any:
    """What was typed as a value: lists and mappings are YAML, everything else is text."""
    text = slot.text.strip()
    if not text.startswith(("[", "{")) or slot.kind == "input":
        return slot.text
    from workbench.errors import RecipeError
    from workbench.recipe import yaml_file

    try:
        return yaml_file.parse(text, slot.name)
    except RecipeError:
        return slot.text
