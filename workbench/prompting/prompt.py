"""A prompt: read from YAML, checked, and rendered into a task with the values of its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import PromptError, RecipeError
from workbench.prompting import templates
from workbench.prompting.composition import Composition, build, parse
from workbench.prompting.prompt_content import PromptContent
from workbench.prompting.structured import response_format_of
from workbench.prompting.technique import Task
from workbench.prompting.validation import Invalid, check, did_you_mean
from workbench.prompting.yaml_lines import line_of
from workbench.recipe import yaml_file

USUAL_INPUTS = ("question", "input", "text", "document")
"""Variables that are the bare input where a prompt does not name one."""


@dataclass(frozen=True)
class PromptVariable:
    """What there is to fill in; `default` counts only where it is not `required`."""

    name: str
    required: bool
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class Prompt:
    """A prompt as it is used; `text` is its YAML as a person wrote it, `where` its file or a name for it."""

    name: str
    content: PromptContent
    text: str
    where: str

    @property
    def description(self) -> str:
        """A line on what it is for: its own, or the comment its file opens with."""
        return self.content.description or first_comment(self.text)

    @cached_property
    def version(self) -> str:
        """A short hash of all that bears on the outcome."""
        return self.content.version()

    @cached_property
    def variables(self) -> tuple[PromptVariable, ...]:
        """Every variable of the templates, in the order they are declared in, then as they occur."""
        needed: dict[str, bool] = dict.fromkeys(self.content.variables, False)
        for _, template in self.content.templates():
            for name, required in templates.variables_in(template, self.where).items():
                needed[name] = needed.get(name, False) or required
        declared = self.content.variables
        return tuple(
            PromptVariable(
                name,
                required and not declared[name].has_default,
                declared[name].default,
                declared[name].description,
            )
            if name in declared
            else PromptVariable(name, required)
            for name, required in needed.items()
        )

    @cached_property
    def input(self) -> str | None:
        """The variable that is the bare input; None where it can only be the whole last message."""
        if self.content.input is not None:
            return self.content.input
        names = [variable.name for variable in self.variables]
        needed = [variable.name for variable in self.variables if variable.required]
        usual = next((name for name in USUAL_INPUTS if name in names), None)
        return usual or (needed[0] if len(needed) == 1 else None)

    @cached_property
    def response_format(self) -> Mapping[str, Any] | None:
        """The schema of the answer as the protocol has it. Raises `PromptError`."""
        schema = self.content.response_format
        return None if schema is None else response_format_of(schema, self.name)

    @cached_property
    def _own(self) -> tuple[str, ...]:
        """The variables of the last message that must be given, beside the bare input."""
        last = templates.variables_in(self.content.turns()[-1].content, self.where)
        required = {variable.name for variable in self.variables if variable.required}
        return tuple(name for name in last if name in required and name != self.input)

    def technique(self) -> Composition:
        """The technique the prompt asks for, zero-shot where it asks for none. Raises `PromptError`."""
        try:
            return build(self.content.technique)
        except PromptError as error:
            place = _at_line(error, self.text, self.where, ("technique",))
            where = ", ".join(filter(None, (place.where, error.where)))
            raise PromptError(error.message, where=where, hint=error.hint) from None

    def render(self, variables: Mapping[str, Any], id: str = "") -> Task:
        """The prompt with values in it; values it has no use for are kept beside. Raises `PromptError`.

        `id` tells a row of a data set from all others.
        """
        values = self._filled(variables)
        turns = self.content.turns()
        messages = tuple(
            {"role": turn.role, "content": templates.render(turn.content, values, self.where)}
            for turn in turns
        )
        return Task(
            question=str(messages[-1]["content"] if self.input is None else values.get(self.input, "")),
            messages=messages,
            sampling=self.content.drawn(),
            response_format=self.response_format,
            variables=values,
            id=id,
            answer=self.content.answer,
            user_turn=lambda question, others: self._last_turn(question, others, values),
        )

    def _last_turn(self, question: str, others: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        """The last message for another input; only what has a default may stay as it is in this one."""
        given = {**others, **({self.input: question} if self.input is not None else {})}
        missing = [name for name in self._own if name not in given]
        if missing:
            raise PromptError(
                f"a demonstration has no value for {', '.join(missing)}, which the prompt needs",
                where=self.where,
                hint="give the examples a column of that name, or the variable a default",
            )
        return templates.render(self.content.turns()[-1].content, {**values, **given}, self.where)

    def _filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults, and what is given on top of them. Raises `PromptError` naming all that is missing."""
        declared = self.content.variables
        values = {name: item.default for name, item in declared.items() if item.has_default}
        values.update(given)
        missing = [item.name for item in self.variables if item.required and item.name not in given]
        if missing:
            known = [item.name for item in self.variables]
            near = [did_you_mean(name, missing) for name in given if name not in known]
            raise PromptError(
                f"the prompt {self.name or 'here'} needs a value for {', '.join(missing)}",
                where=self.where,
                hint=next(filter(None, near), "") or " ".join(f"{name}=…" for name in missing),
            )
        return values


def parse_prompt(text: str, name: str = "", path: Path | None = None) -> Prompt:
    """A prompt from its YAML. Raises `PromptError` naming file and line."""
    where = str(path) if path is not None else (f"prompt {name}" if name else "prompt")
    try:
        value = yaml_file.parse(text, where)
    except RecipeError as error:
        raise PromptError(error.message, where=error.where, hint=error.hint) from None
    if not isinstance(value, dict):
        raise PromptError(
            "a prompt is a mapping of keys" if value is not None else "the prompt is empty",
            where=where,
            hint="write at least:\nuser: |\n  {{ question }}",
        )
    try:
        content = check(PromptContent, value, where)
    except Invalid as error:
        raise _at_line(error, text, where, error.location) from None
    prompt = Prompt(name, content, text, where)
    _check_parts(prompt)
    return prompt


def _check_parts(prompt: Prompt) -> None:
    """What the types cannot say: templates, the schema, the input, the names of techniques."""
    content = prompt.content
    for location, template in content.templates():
        try:
            templates.variables_in(template, prompt.where)
        except templates.TemplateProblem as error:
            raise _at_line(error, prompt.text, prompt.where, location, error.line) from None
    try:
        location = ("response_format",)
        _ = prompt.response_format
        location = ("technique",)
        parse(content.technique)
        location = ("input",)
        names = [variable.name for variable in prompt.variables]
        if content.input is not None and content.input not in names:
            hint = did_you_mean(content.input, names) or f"the variables are {', '.join(names)}"
            raise PromptError(f"no template has the variable “{content.input}”", hint=hint)
    except PromptError as error:
        raise _at_line(error, prompt.text, prompt.where, location) from None


def _at_line(
    error: PromptError, text: str, where: str, location: tuple[str | int, ...], inside: int = 0
) -> PromptError:
    line = line_of(text, location, inside)
    return PromptError(error.message, where=f"{where}, line {line}", hint=error.hint)


def first_comment(text: str) -> str:
    """The comment a file opens with, as its one-line description."""
    first = text.partition("\n")[0]
    return first[1:].strip() if first.startswith("#") else ""
