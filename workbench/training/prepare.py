"""The data of a run: running text for pre-training, labelled records for a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import paths
from workbench.data import Prepared, prepare
from workbench.data.chat_templates import chat_template
from workbench.data.tokenizer import load_tokenizer
from workbench.errors import ModelError

if TYPE_CHECKING:
    from workbench.data.records import PreparedRecords
    from workbench.data.ticker import Progress
    from workbench.recipe import Recipe
    from workbench.training.reporter import Reporter
    from workbench.training.stop import StopRequest


def prepare_data(
    recipe: Recipe, length: int, reporter: Reporter, stop: StopRequest
) -> Prepared | PreparedRecords:
    """The data of a recipe, from the cache or made now; the status says how far it is."""

    def progress(what: str, done: int, total: int | None) -> None:
        stop.raise_if_set()
        reporter.progress(what, done, total)

    prepared = prepare_recipe(recipe, length, progress)
    reporter.update(now=True, progress=None)
    return prepared


def prepare_recipe(recipe: Recipe, length: int, progress: Progress) -> Prepared | PreparedRecords:
    """The data of a recipe, with rows of at most `length` tokens."""
    model, name = recipe.model, recipe.objective.name
    if not recipe.objective.reads_records:
        return prepare(
            recipe.data,
            tokenizer_name_or_path=model.tokenizer_name_or_path,
            model_name_or_path=model.model_name_or_path,
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
            vocab_size=model.vocab_size,
            seed=recipe.training.seed,
            cache=paths.cache_dir(),
            progress=progress,
            family=model.family,
            objective=name,
        )
    tokenizer_name = model.tokenizer_name_or_path or model.model_name_or_path
    if tokenizer_name is None:
        raise ModelError(
            f"{name} with a new model needs a tokenizer",
            where="model.tokenizer_name_or_path",
            hint="name the folder of one, or start from a pre-trained model: model.model_name_or_path",
        )
    from workbench.data.records import prepare_records
    from workbench.data.records.prompts import prepare_prompts

    revision = None if model.tokenizer_name_or_path else model.revision
    tokenizer = load_tokenizer(tokenizer_name, revision=revision, trust_remote_code=model.trust_remote_code)
    if recipe.data.chat_template is not None:
        tokenizer.chat_template = chat_template(recipe.data.chat_template)
    if name == "ppo":
        room = length - recipe.ppo.response_length
        if room < 1:
            raise ModelError(
                f"answers of ppo.response_length {recipe.ppo.response_length:,} tokens leave no room for a "
                f"prompt in {length:,}",
                where="ppo.response_length",
                hint="make it shorter, or data.max_length longer as far as the model's context goes",
            )
        return prepare_prompts(
            recipe.data,
            tokenizer=tokenizer,
            prompt_length=recipe.ppo.prompt_length,
            max_length=room,
            seed=recipe.training.seed,
            progress=progress,
        )
    return prepare_records(
        recipe.data,
        objective=name,
        tokenizer=tokenizer,
        max_length=length,
        seed=recipe.training.seed,
        cache=paths.cache_dir(),
        progress=progress,
    )
