"""`/v1/soft_prompts`: which soft prompts requests may choose, what they are, more of them while it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workbench.errors import ModelError
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.engine.soft_prompts import FIELD, Entry, SoftPrompts, unknown
from workbench.inference.loading.adapters import read_adapter, read_soft_prompt, soft_prompt_changed
from workbench.inference.loading.places import find_place
from workbench.inference.server.protocol import Part
from workbench.models.soft_prompts.nearest import nearest
from workbench.store.soft_prompts import SavedSoftPrompt, of_runs

if TYPE_CHECKING:
    from workbench.inference.server.service import Service

NAME = re.compile(r"[\w.-][\w. -]{0,79}")
NEAREST = 5
"""Tokens that each virtual one is compared to people with."""
BETWEEN = ":"
"""Between the name of a model and that of a soft prompt on it, where one names both as a model."""


class LoadRequest(Part):
    """`POST /v1/soft_prompts`."""

    name: Annotated[str, Field(min_length=1)]
    folder: Annotated[str, Field(min_length=1)]


def load(name: str, folder: str, prompts: SoftPrompts) -> Entry:
    """Let requests choose the soft prompt in a folder, or of a run. Raises `ModelError`."""
    if not NAME.fullmatch(name):
        raise ModelError(
            f"“{name}” cannot name a soft prompt", hint="letters, digits, dots, dashes and underscores can"
        )
    return prompts.add(name, read_soft_prompt(read_adapter(find_place(folder).folder)))


def found(service: Service) -> dict[str, SavedSoftPrompt]:
    """Those of runs on this model which nobody has chosen yet, by name."""
    if service.engine is None or service.folder is None or service.engine.runner.prefix is not None:
        return {}
    loaded = {entry.name for entry in service.engine.soft_prompts.every()}
    return {one.name: one for one in of_runs(service.folder) if one.name not in loaded}


def ready(name: str, service: Service) -> Entry:
    """A soft prompt by name; that of a run is loaded when it is first chosen, and any one anew when its file
    has become another. Raises `RequestRefused`."""
    prompts = service.writer().soft_prompts
    known = {entry.name: entry for entry in prompts.every()}
    if name in known:
        soft_prompt = known[name].soft_prompt
        changed = soft_prompt_changed(soft_prompt.where) if soft_prompt.where else None
        if changed in (None, soft_prompt.changed):
            return known[name]
        return _loaded(name, soft_prompt.where, prompts)
    of_run = found(service)
    if name not in of_run:
        raise unknown(name, [*known, *of_run])
    return _loaded(name, str(of_run[name].folder), prompts)


def _loaded(name: str, folder: str, prompts: SoftPrompts) -> Entry:
    try:
        return load(name, folder, prompts)
    except ModelError as error:
        place = f" ({error.where})" if error.where else ""
        raise RequestRefused(f"{error.message}{place}", where=FIELD, hint=error.hint) from None


def create(asked: LoadRequest, service: Service) -> dict[str, Any]:
    """`POST`: load one from a folder on this machine. Raises `RequestRefused`."""
    _check_owner(service)
    return _told(_loaded(asked.name, asked.folder, service.writer().soft_prompts), service)


def listing(service: Service) -> dict[str, Any]:
    """`GET`: all that can be chosen."""
    told = (
        [] if service.engine is None else [_told(one, service) for one in service.engine.soft_prompts.every()]
    )
    waiting = [
        {
            **_head(one.name, service),
            "kind": one.kind,
            "length": one.length,
            "folder": str(one.folder),
            "is_loaded": False,
        }
        for one in found(service).values()
    ]
    return {"object": "list", "data": [*told, *waiting]}


def describe(name: str, service: Service) -> dict[str, Any]:
    """`GET` of one: with the tokens whose embeddings are nearest to its vectors."""
    entry = ready(name, service)
    soft_prompt, engine = entry.soft_prompt, service.writer()
    told = _told(entry, service)
    if soft_prompt.is_prefix:
        return {**told, "nearest": None}
    tokenizer = service.renderer.tokenizer
    places = nearest(soft_prompt.matrix, engine.runner.embeddings, NEAREST)
    told["nearest"] = [
        [
            {
                "id": token,
                "token": tokenizer.decode([token], clean_up_tokenization_spaces=False),
                "cosine": round(cosine, 4),
            }
            for token, cosine in place
        ]
        for place in places
    ]
    return told


def delete(name: str, service: Service) -> dict[str, Any]:
    """`DELETE`: no further request can choose it; those under way end as they began."""
    _check_owner(service)
    entry = service.writer().soft_prompts.remove(name)
    return {"id": entry.name, "object": "soft_prompt", "deleted": True}


def _check_owner(service: Service) -> None:
    if not service.is_owners:
        raise RequestRefused(
            "soft prompts are loaded and removed only by the owner of this server, at a Unix socket",
            where=FIELD,
            hint="start it with --soft-prompt NAME=FOLDER",
        )


def as_models(service: Service) -> list[dict[str, Any]]:
    """Each soft prompt as a model of its own, as clients choose it that know only models."""
    return [
        {
            "id": one["model"],
            "parent": service.name,
            "soft_prompt": one["id"],
            "max_model_len": service.max_length - one["length"],
        }
        for one in listing(service)["data"]
    ]


def _head(name: str, service: Service) -> dict[str, Any]:
    return {"id": name, "object": "soft_prompt", "model": f"{service.name}{BETWEEN}{name}"}


def _told(entry: Entry, service: Service) -> dict[str, Any]:
    soft_prompt = entry.soft_prompt
    return {
        **_head(entry.name, service),
        "kind": soft_prompt.kind_words,
        "length": entry.prefix.length,
        "parameters": soft_prompt.matrix.numel(),
        "trained_for": Path(soft_prompt.base).name,
        "folder": soft_prompt.where,
        "kv_bytes": entry.prefix.bytes,
        "is_loaded": True,
    }
