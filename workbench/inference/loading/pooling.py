"""How an encoder makes one vector of a text, as the files of sentence-transformers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import ModelError

MODULES = "modules.json"
MODES = ("cls", "lasttoken", "max", "mean", "mean_sqrt_len", "weightedmean")
"""In the order in which several of them are joined: each token's vector is summed up in these ways."""
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


@dataclass(frozen=True)
class Pooling:
    """The modes (their vectors are joined), layers after them, and whether vectors get length 1."""

    modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    dense: tuple[Path, ...] = ()
    """Folders of linear layers that follow."""
    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Words that stand before a text, by what it is (`query`, `document`)."""
    default_prompt: str | None = None


def pooling_of(folder: Path, *, last_token: bool = False) -> Pooling:
    """What a model's folder says. Where it says nothing, the mean over the tokens, or the last one, which
    alone has seen the whole text in a decoder. Raises `ModelError`."""
    if not (folder / MODULES).is_file():
        return Pooling(("lasttoken",)) if last_token else Pooling()
    pooling: dict[str, Any] = {}
    dense: list[Path] = []
    for module in _read(folder / MODULES, list):
        kind = str(module["type"]).rpartition(".")[2]
        where = folder / str(module["path"])
        if kind == "Pooling":
            pooling["modes"] = _modes(_read(where / "config.json", dict), where)
        elif kind == "Normalize":
            pooling["normalize"] = True
        elif kind == "Dense":
            dense.append(where)
        elif kind != "Transformer":
            raise ModelError(
                f"its vectors go through a module that is not known here: {kind}", where=str(folder)
            )
    sentence = _read(folder / "sentence_bert_config.json", dict, optional=True)
    general = _read(folder / "config_sentence_transformers.json", dict, optional=True)
    prompts = {str(name): str(text) for name, text in (general.get("prompts") or {}).items()}
    name = general.get("default_prompt_name")
    return Pooling(
        **pooling,
        dense=tuple(dense),
        max_length=sentence.get("max_seq_length"),
        lower_case=bool(sentence.get("do_lower_case")),
        prompts=prompts,
        default_prompt=prompts.get(str(name)) if name is not None else None,
    )


def _modes(config: Mapping[str, Any], where: Path) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    found = [named] if isinstance(named, str) else list(named or ())
    found = found or [mode for flag, mode in FLAGS.items() if config.get(flag)]
    if config.get("include_prompt") is False:
        raise ModelError("its pooling leaves out the prompt, which is not done here", where=str(where))
    strange = [mode for mode in found if mode not in MODES]
    if strange or not found:
        raise ModelError(
            f"its way of pooling is not known here: {strange[0] if strange else 'none is named'}",
            where=str(where),
            hint=f"known are {', '.join(MODES)}",
        )
    return tuple(found)


def _read(path: Path, kind: type, *, optional: bool = False) -> Any:
    if optional and not path.is_file():
        return kind()
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}", where=str(path)) from None
    if not isinstance(found, kind):
        raise ModelError(f"{path.name} holds something else than was expected", where=str(path))
    return found
