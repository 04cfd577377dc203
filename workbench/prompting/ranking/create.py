"""A new session of prompts × models × sampling parameters. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from workbench.errors import UsageError
from workbench.inference.generation import Sampling
from workbench.prompting.ranking.sources import KEY, ModelSource, as_settings, named
from workbench.prompting.ranking.writing import writes
from workbench.store.preferences.contents import Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.order import REPEATED_SHARE
from workbench.store.preferences.sessions import Session, Settings, add_prompts, create_session

MAX_TOKENS = 512
TEMPERATURE = 0.8
"""At 0, several answers of a model would be one."""
KNOWN = frozenset(item.name for item in fields(Sampling))


@dataclass(frozen=True)
class Plan:
    """What a session is to be: each of `models` answers each prompt `samples` times under each of
    `sampling` (mappings of the names that `Sampling` has)."""

    name: str
    models: Sequence[ModelSource]
    sampling: Sequence[Mapping[str, Any]] = ({"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},)
    samples: int = 1
    criteria: str = ""
    repeated: float = REPEATED_SHARE
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def create(database: Database, plan: Plan, prompts: Sequence[Prompt]) -> Session:
    """Make the session with all its prompts, or nothing of it; no answer is generated yet.

    Raises `UsageError` for settings that cannot be, or a name that is taken, `StorageError`.
    """
    settings = settings_of(plan)
    with database.transaction():
        session = create_session(database, plan.name, settings, seed=plan.seed)
        add_prompts(database, session, prompts)
    return session


def settings_of(plan: Plan) -> Settings:
    """The settings of a planned session. Raises `UsageError` for what cannot be."""
    if not plan.models:
        raise UsageError("no model is named to answer the prompts", hint="--model NAME, many times")
    sources = named(plan.models)
    for name, source in sources.items():
        if source.kind == "local" and not writes(source.model):
            raise UsageError(
                f"“{name}” does not write: it has no answers to be ranked",
                where=source.model,
                hint="name models that continue texts, such as those of clm, sft, dpo and ppo",
            )
    for sampling in plan.sampling:
        check_sampling(sampling, plan.samples)
    return Settings(
        models=tuple(sources),
        # Without a bound, a model that never ends would never be ranked.
        sampling=tuple({"max_tokens": MAX_TOKENS, **sampling} for sampling in plan.sampling),
        samples=plan.samples,
        criteria=plan.criteria,
        repeated=plan.repeated,
        extra={**plan.extra, KEY: as_settings(sources)},
    )


def check_sampling(sampling: Mapping[str, Any], samples: int = 1) -> None:
    """Raise `UsageError` for sampling parameters that no server takes, or that make answers alike."""
    if unknown := sorted(set(sampling) - KNOWN):
        raise UsageError(f"{unknown[0]} is no sampling parameter", hint=", ".join(sorted(KNOWN)))
    temperature, top_p, max_tokens = (sampling.get(key) for key in ("temperature", "top_p", "max_tokens"))
    if temperature is not None and not 0 <= temperature <= 2:
        raise UsageError(f"a temperature of {temperature} is none", hint="from 0 to 2; 0.7 to 1 for ranking")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"a top_p of {top_p} is none", hint="above 0, at most 1")
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"{max_tokens} tokens are no answer", hint="max_tokens is 1 at least")
    if samples < 1:
        raise UsageError(f"{samples} answers of a model cannot be", hint="1 at least")
    if samples > 1 and temperature == 0:
        raise UsageError(
            f"at temperature 0 the {samples} answers of a model are all the same",
            hint="a temperature above 0, or one answer of each model",
        )
