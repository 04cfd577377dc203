"""A session that is being planned, as a draft of a form. Importing it imports pydantic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from workbench.errors import WorkbenchError
from workbench.prompting.ranking.create import MAX_TOKENS, TEMPERATURE, Plan, settings_of
from workbench.prompting.ranking.sources import ModelSource
from workbench.prompting.ranking.writing import writes
from workbench.recipe.section import Section
from workbench.store.preferences.order import REPEATED_SHARE
from workbench.store.preferences.ranks import FEWEST_ANSWERS, MOST_ANSWERS
from workbench.store.preferences.sessions import NAME
from workbench.tui.form.schema import FormField, section_fields
from workbench.tui.playground.catalog import Listed, choice_of
from workbench.tui.playground.settings_draft import SettingsDraft
from workbench.tui.playground.setup import ModelChoice

PROMPTS = "session.prompts"
MODELS = "models"
OTHER = "other"
HEADINGS = {
    "session": "session",
    MODELS: "models (space ticks one)",
    "answers": "answers",
    "order": "order and repetitions",
}


def _a_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("letters, digits, dots, dashes and underscores, the first a letter or digit")
    return text


class SessionSection(Section):
    """What is ranked."""

    name: Annotated[str, AfterValidator(_a_name)] = Field(
        "ranking", description="What the session is called."
    )
    prompts: str = Field(
        "", description="Texts or conversations: .jsonl .json .csv .parquet .txt; tab completes."
    )
    limit: int | None = Field(None, ge=1, description="Only the first so many prompts; all if empty.")
    column: str | None = Field(
        None, description="Holds the prompts. Empty: prompt, messages, conversations or instruction."
    )
    system: str | None = Field(None, description="The system message of prompts that have none.")
    criteria: str | None = Field(None, description="What annotators are told is better.")


class AnswersSection(Section):
    """How each model answers."""

    samples: int = Field(1, ge=1, le=MOST_ANSWERS, description="Answers of each model to a prompt.")
    temperature: list[Annotated[float, Field(ge=0, le=2)]] = Field(
        [TEMPERATURE],
        min_length=1,
        description="How freely they are drawn; several, as 0.5, 1.0, are compared.",
    )
    max_tokens: int = Field(MAX_TOKENS, ge=1, description="What is longer is cut, and marked so.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Draw from the likeliest tokens of this share of probability."
    )


class OrderSection(Section):
    """What is drawn by lot."""

    repeated: float = Field(
        REPEATED_SHARE,
        ge=0,
        le=0.5,
        description="Share shown twice, sides swapped, to see who agrees with themselves.",
    )
    seed: int | None = Field(None, ge=0, description="Of the order and the answers; drawn if empty.")


SECTIONS: dict[str, type[Section]] = {
    "session": SessionSection,
    "answers": AnswersSection,
    "order": OrderSection,
}


@dataclass(frozen=True)
class Tick(FormField):
    """A model to take or not; `limits` says what it is."""

    @property
    def type_words(self) -> str:
        """See `FormField`."""
        return self.limits


class NewSessionDraft(SettingsDraft):
    """The plan. `taken` are names of sessions that there are."""

    def __init__(self, taken: Collection[str]) -> None:
        base: dict[str, Any] = {name: section().model_dump() for name, section in SECTIONS.items()}
        base["session"]["name"] = _free(taken)
        # As one types them.
        base["answers"]["temperature"] = [f"{one:g}" for one in base["answers"]["temperature"]]
        super().__init__({**base, MODELS: {OTHER: []}})
        self._taken = taken
        self._models: dict[str, Listed] = {}
        self._silent: dict[str, str] = {}
        self._prompts_problem = ""

    def add_models(self, listed: Sequence[Listed]) -> None:
        """More models to tick: those that can be asked, and write."""
        for one in listed:
            if one.problem:
                self._silent[one.group] = one.problem
                continue
            if any(one.choice == known.choice for known in self._models.values()):
                continue
            if one.choice.kind == "local" and not writes(one.choice.model):
                continue
            label = _label(one.choice)
            if label in self._models or label == OTHER:
                label = f"{label} ({one.choice.options_words or one.choice.server or one.choice.model})"
            self._models.setdefault(label, one)
            self._base[MODELS].setdefault(label, False)
        self._problems = None

    def take_prompts_problem(self, problem: str) -> None:
        """What is wrong with the file of prompts, by whoever read it; nothing where it is right."""
        self._prompts_problem, self._problems = problem, None

    def fields(self) -> Sequence[FormField]:
        """Prompts first, then models, then how they answer."""
        about = "Name, folder, hub name or address (http://host/v1 NAME), commas between them."
        if self._silent:
            silent = "; ".join(f"{server}: {problem}" for server, problem in self._silent.items())
            about = f"By name, folder, hub name, address. {silent}"
        return [
            *section_fields("session", SessionSection),
            *(
                Tick(MODELS, label, "bool", False, (), False, _about(one), one.choice.model, label=label)
                for label, one in self._models.items()
            ),
            FormField(MODELS, OTHER, "list", True, (), [], "", about, label="others"),
            *section_fields("answers", AnswersSection),
            *section_fields("order", OrderSection),
        ]

    def heading(self, field: FormField) -> str:
        """See `SettingsDraft`."""
        return HEADINGS[field.section]

    def unchanged_words(self, field: FormField) -> str:
        """See `Draft`."""
        if field.key == PROMPTS:
            return "needed"
        return "" if isinstance(field, Tick) else super().unchanged_words(field)

    @property
    def path(self) -> Path | None:
        """The file of prompts, where one is named."""
        text = str(self.section("session")["prompts"] or "").strip()
        return Path(text).expanduser() if text else None

    def reading(self) -> tuple[Path | None, dict[str, Any]]:
        """The file of prompts, and how it is read."""
        values = self.section("session")
        limit = values["limit"] if isinstance(values["limit"], int) and values["limit"] > 0 else None
        return self.path, {"column": values["column"], "limit": limit, "system": values["system"]}

    @property
    def models(self) -> list[ModelSource]:
        """The models that are ticked, and others. Raises `WorkbenchError`."""
        ticked = self.section(MODELS)
        others = ticked.pop(OTHER) or []
        chosen = [one.choice for label, one in self._models.items() if ticked.get(label)]
        chosen += [choice_of(str(word)) for word in (others if isinstance(others, list) else [others])]
        return [ModelSource(one.kind, one.model, one.server, one.options) for one in chosen]

    def plan(self) -> Plan:
        """What the form says. Raises `WorkbenchError`."""
        session = SessionSection.model_validate(self.section("session"))
        answers = AnswersSection.model_validate(self.section("answers"))
        order = OrderSection.model_validate(self.section("order"))
        rest = {"max_tokens": answers.max_tokens}
        more = {} if answers.top_p is None else {"top_p": answers.top_p}
        sampling = [{"temperature": one, **rest, **more} for one in dict.fromkeys(answers.temperature)]
        return Plan(
            session.name,
            self.models,
            sampling,
            answers.samples,
            session.criteria or "",
            order.repeated,
            order.seed,
        )

    def answers_per_prompt(self) -> int:
        """How many answers each prompt gets; 0 while that cannot be told."""
        try:
            plan = self.plan()
        except (WorkbenchError, ValueError):
            return 0
        return len(plan.models) * len(plan.sampling) * plan.samples

    def _find_problems(self) -> dict[str, str]:
        found = super()._find_problems()
        for name, section in SECTIONS.items():
            for key, words in self._check(name, section).items():
                found.setdefault(key, words)
        if self.section("session")["name"] in self._taken:
            found.setdefault("session.name", "there is a session of that name")
        if problem := self._wrong_prompts():
            found.setdefault(PROMPTS, problem)
        if not found:
            found.update(self._wrong_models())
        return found

    def _wrong_prompts(self) -> str:
        path = self.path
        if path is None:
            return "name the file with the prompts"
        if path.is_dir():
            return "this is a folder: tab shows what is in it"
        if not path.is_file():
            return "there is no such file"
        return self._prompts_problem

    def _wrong_models(self) -> dict[str, str]:
        first = f"{MODELS}.{next(iter(self._models), OTHER)}"
        try:
            plan = self.plan()
            settings_of(plan)
        except WorkbenchError as error:
            key = "answers.temperature" if "temperature" in error.message else first
            if "does not write" in error.message:  # none of those to tick
                key = f"{MODELS}.{OTHER}"
            words = "tick a model, or name one" if "no model" in error.message else error.message
            return {key: words}
        answers = len(plan.models) * len(plan.sampling) * plan.samples
        if not FEWEST_ANSWERS <= answers <= MOST_ANSWERS:
            count = f"{answers} answer{'s' * (answers != 1)} to a prompt"
            return {"answers.samples": f"{count}: {FEWEST_ANSWERS} to {MOST_ANSWERS} can be ranked"}
        return {}


def _about(one: Listed) -> str:
    """Where a model is, and what is known of it."""
    return f"{one.group} · {one.about}" if one.about else one.group


def _label(choice: ModelChoice) -> str:
    return choice.label or choice.server


def _free(taken: Collection[str]) -> str:
    numbers = (f"ranking-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbers if name not in taken)
