"""The settings of techniques and of sampling as drafts of a form. Importing it imports pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from workbench.errors import PromptError
from workbench.prompting.composition import build, parse
from workbench.prompting.prompt_content import SamplingSection
from workbench.prompting.techniques import READING_ORDER, TECHNIQUES
from workbench.tui.form.draft import Draft, problem_words
from workbench.tui.form.schema import FormField, section_fields
from workbench.tui.playground.setup import MOST_ALTERNATIVES, MOST_SAMPLES, Setup, Specification

USE = "use"
CHOOSABLE = tuple(name for name in READING_ORDER if name != "zero_shot")
"""Zero-shot is what is left when nothing else is used."""


class SettingsDraft(Draft):
    """Settings that say which of their fields are shown now, and under what headings."""

    def section(self, name: str) -> dict[str, Any]:
        """The present values of a section."""
        changed = {
            key.partition(".")[2]: value
            for key, value in self._values.items()
            if key.partition(".")[0] == name
        }
        return {**self._base[name], **changed}

    def fields(self) -> Sequence[FormField]:
        """The fields to show now."""
        raise NotImplementedError

    def heading(self, field: FormField) -> str:
        """What a field stands under."""
        raise NotImplementedError

    def _check(self, name: str, model: type[BaseModel], leave_out: Sequence[str] = ()) -> dict[str, str]:
        """What is wrong with a section, by dotted key."""
        values = {key: value for key, value in self.section(name).items() if key not in leave_out}
        try:
            model.model_validate(values)
        except ValidationError as error:
            return {
                self._key_of(name, model, problem["loc"]): problem_words(problem["msg"])
                for problem in error.errors(include_url=False)
            }
        except PromptError as error:
            return {self._key_of(name, model, ()): error.message}
        return {}

    @staticmethod
    def _key_of(name: str, model: type[BaseModel], location: tuple[int | str, ...]) -> str:
        first = str(location[0]) if location else next(iter(model.model_fields), "")
        return f"{name}.{first}"


class TechniqueDraft(SettingsDraft):
    """Which techniques are used, and the settings of each."""

    def __init__(
        self, usual: Specification, chosen: Specification | None, collections: Sequence[str]
    ) -> None:
        """`usual` is the prompt's own technique, `chosen` what was chosen instead."""
        self._models = {name: TECHNIQUES[name].settings() for name in CHOOSABLE}
        self._collections = tuple(collections)
        usual_parts = parse(usual)
        base = {USE: {name: name in usual_parts for name in CHOOSABLE}}
        for name in CHOOSABLE:
            base[name] = {**_defaults(self._models[name]), **usual_parts.get(name, {})}
        super().__init__(base)
        if chosen is not None:
            self._take(parse(chosen))

    def _take(self, parts: Mapping[str, Mapping[str, Any]]) -> None:
        for field in self._all_fields():
            if field.section == USE:
                self.set_value(field, field.name in parts)
            elif field.section in parts:
                usual = _defaults(self._models[field.section])
                self.set_value(field, parts[field.section].get(field.name, usual[field.name]))

    def _switches(self) -> list[FormField]:
        return [
            FormField(USE, name, "bool", False, (), False, "", entry.help, label=entry.title)
            for name, entry in TECHNIQUES.items()
            if name in CHOOSABLE
        ]

    def _all_fields(self) -> list[FormField]:
        return [
            *self._switches(),
            *(field for name in CHOOSABLE for field in section_fields(name, self._models[name])),
        ]

    def fields(self) -> Sequence[FormField]:
        """All switches, and the settings of what is switched on."""
        used = self.section(USE)
        shown = []
        for field in self._all_fields():
            if field.section == USE:
                shown.append(field)
            elif used[field.section]:
                is_collection = (field.section, field.name) == ("rag", "collection")
                if is_collection and self._collections:
                    field = replace(field, kind="choice", choices=self._collections)
                shown.append(field)
        return shown

    def heading(self, field: FormField) -> str:
        """See `SettingsDraft`."""
        return "techniques" if field.section == USE else TECHNIQUES[field.section].title

    def specification(self) -> Specification:
        """What `build` takes."""
        used = self.section(USE)
        return [
            {name: _changed(self.section(name), _defaults(self._models[name]))}
            for name in CHOOSABLE
            if used[name]
        ]

    def _find_problems(self) -> dict[str, str]:
        found = super()._find_problems()
        used = [name for name in CHOOSABLE if self.section(USE)[name]]
        for name in used:
            found.update(self._check(name, self._models[name]))
        if not found:
            try:
                build(self.specification())
            except PromptError as error:
                found[f"{USE}.{used[0]}"] = f"{error.message}; {error.hint}" if error.hint else error.message
        return found


class SamplingDraft(SettingsDraft):
    """How tokens are drawn, how many answers are asked for, and what is told of them."""

    def __init__(self, usual: Mapping[str, Any], setup: Setup) -> None:
        """`usual` is what the prompt says."""
        drawn = {**_defaults(SamplingSection), "stop": [], **usual}
        plain = Setup()
        request = {
            "samples": plain.samples,
            "alternatives": plain.alternatives,
            "approve": plain.approve,
        }
        super().__init__({"sampling": drawn, "request": request})
        for field in self.fields():
            values = setup.sampling if field.section == "sampling" else vars(setup)
            if field.name in values:
                self.set_value(field, values[field.name])

    def fields(self) -> Sequence[FormField]:
        """All of them."""
        most = f"≥ 1 and ≤ {MOST_SAMPLES}"
        rivals = f"≥ 0 and ≤ {MOST_ALTERNATIVES}"
        return [
            *section_fields("sampling", SamplingSection),
            FormField("sampling", "stop", "list", True, (), [], "", "Texts at which the answer ends."),
            FormField("request", "samples", "integer", False, (), 1, most, "Answers to ask for (n)."),
            FormField(
                "request",
                "alternatives",
                "integer",
                True,
                (),
                5,
                rivals,
                "Rivals to report of each token. Empty: no probabilities at all.",
            ),
            FormField(
                "request",
                "approve",
                "bool",
                False,
                (),
                True,
                "",
                "Ask before every call of a tool.",
            ),
        ]

    def heading(self, field: FormField) -> str:
        """See `SettingsDraft`."""
        return "sampling (empty: as the server has it)" if field.section == "sampling" else "request"

    def applied(self, setup: Setup) -> Setup:
        """The setup with what was chosen."""
        sampling = {
            key.partition(".")[2]: self._values[key] for key in self._values if key[:9] == "sampling."
        }
        return replace(setup, sampling=sampling, **self.section("request"))

    def _find_problems(self) -> dict[str, str]:
        found = super()._find_problems()
        found.update(self._check("sampling", SamplingSection, leave_out=("stop",)))
        stops = self.section("sampling")["stop"] or []
        if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
            found["sampling.stop"] = "texts, with commas between them"
        request = self.section("request")
        for name, least, most in (("samples", 1, MOST_SAMPLES), ("alternatives", 0, MOST_ALTERNATIVES)):
            value = request[name]
            if value is None and name == "alternatives":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                found[f"request.{name}"] = f"a whole number from {least} to {most}"
        return found


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        value = info.get_default(call_default_factory=True)
        made[name] = (
            value.model_dump(mode="json")
            if isinstance(value, BaseModel)
            else list(value)
            if isinstance(value, tuple)
            else value
        )
    return made


def _changed(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != usual.get(name)}
