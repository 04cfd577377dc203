"""What a prompt file says: typed keys, each with its help."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from workbench.inference.generation import Sampling
from workbench.prompting.answers import Answer
from workbench.prompting.judging.settings import JudgeSettings
from workbench.recipe.section import Section


class Variable(Section):
    """A variable of the templates. A bare value is its default."""

    default: Any = Field(None, description="The value where none is given. Left out: one must be given.")
    description: str = Field("", description="What it is, for whoever fills it in.")

    @model_validator(mode="before")
    @classmethod
    def _from_value(cls, value: Any) -> Any:
        if value is None:
            return {}
        return value if isinstance(value, (dict, Variable)) else {"default": value}

    @property
    def has_default(self) -> bool:
        """Whether there is a default, which may be null."""
        return "default" in self.model_fields_set


class Turn(Section):
    """A message of the conversation, its content a template."""

    role: Literal["system", "user", "assistant"] = Field(..., description="Who speaks.")
    content: str = Field(..., description="What is said, a template.")


class SamplingSection(Section):
    """How tokens are drawn. What is empty is left to the server, which has the model's own defaults."""

    max_tokens: int | None = Field(None, ge=1, description="Most tokens to write.")
    temperature: float | None = Field(None, ge=0, le=10, description="0 always takes the likeliest token.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Draw from the likeliest tokens of this share of probability."
    )
    top_k: int | None = Field(None, ge=0, description="Draw from so many of the likeliest tokens; 0: all.")
    min_p: float | None = Field(
        None, ge=0, le=1, description="Leave out tokens below this share of the likeliest one's probability."
    )
    presence_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken off the logit of every token that has occurred."
    )
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="Taken off a token's logit for each time it has occurred."
    )
    repetition_penalty: float | None = Field(
        None, gt=0, le=10, description="Divides the logit of every token that has occurred; 1: none."
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes the draws reproducible.")


class PromptContent(Section):
    """All of a prompt file."""

    description: str = Field(
        "", description="A line on what it is for. Empty: the comment the file opens with."
    )
    system: str | None = Field(None, description="Persona and constraints, a template.")
    user: str | None = Field(None, description="What is asked, a template. Or give `messages`.")
    messages: tuple[Turn, ...] = Field(
        (), description="A conversation of several turns; its last is the user's. Or give `user`."
    )
    variables: dict[str, Variable] = Field(
        default_factory=dict, description="Defaults and descriptions of the templates' variables."
    )
    input: str | None = Field(
        None,
        description="The variable that is the bare input, by which passages and demonstrations are searched. "
        "Empty: question, input, text or document, or the only one that must be given.",
    )
    sampling: SamplingSection = Field(
        default_factory=SamplingSection, description="How tokens are drawn, unless said otherwise."
    )
    stop: tuple[str, ...] = Field((), max_length=16, description="Texts at which the answer ends.")
    response_format: dict[str, Any] | None = Field(
        None, description="A JSON schema for the answer, or the protocol's response_format."
    )
    answer: Answer | None = Field(
        None, description="What to look for in the answer: number, choice, yes_no, text or json."
    )
    technique: Any = Field(
        None, description="The technique to prompt with, such as [cot, {self_consistency: {samples: 16}}]."
    )
    judge: JudgeSettings | None = Field(
        None, description="How answers are judged where an evaluation asks a judge: model, rubric, scale."
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty text would end every answer at once")
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> PromptContent:
        if (self.user is None) == (not self.messages):
            raise ValueError("a prompt has either user or messages")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last of messages is the user's, which the model answers")
        if any(turn.role == "system" for turn in self.messages[1 if self.system is None else 0 :]):
            raise ValueError("there is one system message, and it comes first")
        return self

    def turns(self) -> list[Turn]:
        """The whole conversation, the system message first."""
        turns = [Turn(role="system", content=self.system)] if self.system is not None else []
        return [*turns, *(self.messages or [Turn(role="user", content=self.user or "")])]

    def templates(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every template and the way to it in the file."""
        if self.system is not None:
            yield ("system",), self.system
        if self.user is not None:
            yield ("user",), self.user
        for number, turn in enumerate(self.messages):
            yield ("messages", number, "content"), turn.content

    def drawn(self) -> Sampling:
        """The sampling with the stops in it."""
        return Sampling(**self.sampling.model_dump(), stop=self.stop)

    def version(self) -> str:
        """A short hash of all that bears on the outcome: not of descriptions, comments and layout."""
        value = self.model_dump(mode="json", exclude={"description"}, exclude_unset=True)
        for variable in value.get("variables", {}).values():
            variable.pop("description", None)
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
