"""The tokenizer that a recipe or a name means, by the shortest way that gives the same one as training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench import paths
from workbench.data.pipeline import open_corpus
from workbench.data.tokenizer import FILE, load_tokenizer, trained_file
from workbench.errors import ModelError
from workbench.recipe import Recipe, validate

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from workbench.inspection.requests import Progress

GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of transformers that take tokenizer.json as it stands; others may rebuild parts of it."""


@dataclass(frozen=True)
class OpenTokenizer:
    """A tokenizer's fast part, neither cutting nor padding, and where it is from: a name, or `trained`."""

    backend: Tokenizer
    name: str


def recipe_of(mapping: Mapping[str, Any]) -> Recipe:
    """The checked recipe. Raises `RecipeError`."""
    return validate(dict(mapping), "the recipe")


def named_tokenizer(recipe: Recipe) -> str | None:
    """The tokenizer that a recipe names, itself or by its model; None where it trains one.

    Raises `ModelError` for what learns from records, on a new model: they train no tokenizer.
    """
    section = recipe.model
    name = section.tokenizer_name_or_path or section.model_name_or_path
    if name is None and recipe.objective.reads_records:
        raise ModelError(
            f"{recipe.objective.name} with a new model needs a tokenizer",
            where="model.tokenizer_name_or_path",
            hint="name the folder of one, or start from a pre-trained model: model.model_name_or_path",
        )
    return name


def open_tokenizer(tokenizer: str | Mapping[str, Any], progress: Progress) -> OpenTokenizer:
    """The tokenizer of a recipe (a mapping), or of a model by name; a recipe's is trained where need be.

    Raises `ModelError`, `DataError`, `RecipeError`.
    """
    from tokenizers import Tokenizer

    if isinstance(tokenizer, str):
        return _without_limits(_named(tokenizer, None, False), tokenizer)
    recipe = recipe_of(tokenizer)
    section, name = recipe.model, named_tokenizer(recipe)
    if name is not None:
        revision = None if section.tokenizer_name_or_path else section.revision
        return _without_limits(_named(name, revision, section.trust_remote_code), name)
    corpus = open_corpus(recipe.data, recipe.training.seed, paths.cache_dir(), progress)
    file = trained_file(
        corpus,
        vocab_size=section.vocab_size,
        cache=paths.cache_dir(),
        progress=progress,
        family=section.family,
    )
    return _without_limits(Tokenizer.from_file(str(file)), "trained")


def _without_limits(backend: Tokenizer, name: str) -> OpenTokenizer:
    backend.no_truncation()
    backend.no_padding()
    return OpenTokenizer(backend, name)


def _named(name: str, revision: str | None, trust_remote_code: bool) -> Tokenizer:
    from tokenizers import Tokenizer

    folder = Path(name).expanduser()
    if _is_generic(folder):
        try:
            return Tokenizer.from_file(str(folder / FILE))
        except Exception as error:
            # The library knows but Exception itself.
            raise ModelError(f"{FILE} is damaged: {str(error).splitlines()[0]}", where=str(folder)) from None
    # Through transformers, whose automatic class imports torch: seconds instead of a tenth of one.
    found = load_tokenizer(
        str(folder) if folder.is_dir() else name, revision=revision, trust_remote_code=trust_remote_code
    )
    return Tokenizer.from_str(found.backend_tokenizer.to_str())


def _is_generic(folder: Path) -> bool:
    try:
        config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
        return (folder / FILE).is_file() and config["tokenizer_class"] in GENERIC
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return False
