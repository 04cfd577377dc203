"""What is to be predicted: a recipe's run, or one of a study's family of so many parameters and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench import paths
from workbench.errors import RecipeError, UsageError
from workbench.models.estimate import estimate
from workbench.recipe import Recipe, load, validate
from workbench.recipe.load import apply_override
from workbench.scaling.fit_file import Fitted
from workbench.scaling.laws import Count
from workbench.scaling.plan import Plan, PlannedRun
from workbench.scaling.recipes import base_recipe, learning_rate, recipe_of, row_length
from workbench.scaling.results import results_of
from workbench.scaling.shapes import Family
from workbench.scaling.spec import StudySpec, read_spec
from workbench.store.runs import Run
from workbench.store.scaling_studies import Study


@dataclass(frozen=True)
class Target:
    """A run to come: N both ways, D, FLOPs, steps; its recipe, where there is one to start; `notes` on why
    its loss may not compare with the study's."""

    parameters: float
    non_embedding: float
    tokens: float
    flops: float
    steps: int
    recipe: Recipe | None
    notes: tuple[str, ...] = ()

    def counted(self, count: Count) -> float:
        """N."""
        return self.parameters if count == "total" else self.non_embedding


def of_recipe(name: str, overrides: Sequence[str], study: Study | None) -> Target:
    """The run of a recipe. Raises `RecipeError` where its length or shape cannot be told."""
    recipe = load(name, overrides)
    return _target(recipe, name, _differences(recipe, study) if study is not None else ())


def _target(recipe: Recipe, where: str, notes: tuple[str, ...] = ()) -> Target:
    found = estimate(recipe)
    if found.known is None:
        raise RecipeError(f"its shape cannot be told: {found.reason}", where=where)
    plan, counts = found.known.plan, found.known.parameters
    if plan.steps is None or plan.tokens is None or plan.flops is None:
        raise RecipeError(
            "how long the run is depends on how much data there is",
            where="training.max_steps",
            hint="set training.max_steps=N",
        )
    return Target(counts.total, counts.without_embeddings, plan.tokens, plan.flops, plan.steps, recipe, notes)


def _differences(recipe: Recipe, study: Study) -> tuple[str, ...]:
    """In what a recipe differs from a study, so that their losses do not compare."""
    spec = read_spec(study.spec(), str(study.spec_path))
    base = base_recipe(spec, str(study.spec_path))
    # A run of the study, which has its sums among its sources.
    own = recipe_of(spec, base, Plan.from_dict(study.plan()).runs[0], study.path)
    found = []
    if recipe.data.sources != own.data.sources:
        found.append("its sources are not the study's: the law speaks of the study's text")
    if recipe.objective.name != base.objective.name:
        found.append(
            f"it is trained for {recipe.objective.name}, the study's runs for {base.objective.name}: "
            "their losses do not compare"
        )
    if row_length(recipe) != row_length(base):
        found.append(
            f"its rows have {row_length(recipe):,} tokens, the study's {row_length(base):,}: what comes "
            "before a token tells of it"
        )
    same = ("vocab_size", "tokenizer_name_or_path")
    if any(getattr(recipe.model, key) != getattr(base.model, key) for key in same):
        found.append("its tokenizer is not the study's: losses a token do not compare")
    if recipe.data.isolate_documents != base.data.isolate_documents:
        found.append("its documents see each other in a row otherwise than the study's")
    found += _trained_otherwise(recipe, spec)
    return tuple(found)


def _trained_otherwise(recipe: Recipe, spec: StudySpec) -> list[str]:
    """In what its training differs from the rules of a study."""
    training, rules, found = recipe.training, spec.rules, []
    parts = training.gradient_accumulation_steps * recipe.data_ranks
    step = training.per_device_train_batch_size * parts * row_length(recipe)
    if not 0.5 <= step / rules.batch_tokens <= 2:
        found.append(f"its steps read {step:,} tokens, the study's {rules.batch_tokens:,}")
    if training.lr_scheduler_type == "constant":
        found.append("its learning rate does not decay to the end, as in the study's runs")
    elif (training.lr_scheduler_type, training.min_lr_ratio) != (rules.lr_scheduler_type, rules.min_lr_ratio):
        found.append(
            f"its learning rate decays by {training.lr_scheduler_type} to {training.min_lr_ratio:g} of it, "
            f"the study's by {rules.lr_scheduler_type} to {rules.min_lr_ratio:g}"
        )
    return found


def of_family(
    study: Study,
    name: str | None,
    *,
    parameters: float | None,
    tokens: float | None,
    compute: float | None,
    fitted: Fitted,
    overrides: Sequence[str] = (),
) -> Target:
    """A run of a study's family: of so many parameters and tokens; or compute-optimal by its law for so
    much compute. What one of them leaves open follows from the others. Raises `UsageError`."""
    spec = read_spec(study.spec(), str(study.spec_path))
    base = base_recipe(spec, str(study.spec_path))
    per = fitted.flops_per_parameter
    given = [value is not None for value in (parameters, tokens, compute)]
    if sum(given) == 0 or (sum(given) == 1 and compute is None) or sum(given) == 3:
        raise UsageError(
            "two of size, tokens and compute say what to predict; compute alone is compute-optimal",
            where="--parameters, --tokens, --compute",
            hint="--compute 8x, or --parameters 1e6 --tokens 2e7",
        )
    if parameters is None:
        assert compute is not None
        parameters = compute / per / tokens if tokens else float(fitted.law.optimal_parameters(compute, per))
    counted = spec.shapes.model_copy(update={"count": fitted.law.count})
    shape = Family(base, counted, str(study.spec_path)).nearest(parameters)
    if tokens is None:
        assert compute is not None
        tokens = compute / shape.flops_per_token
    steps = max(1, round(tokens / spec.rules.batch_tokens))
    tokens = float(steps * spec.rules.batch_tokens)
    planned = PlannedRun(
        name=name or f"{study.name}-predicted",
        description=f"scaling study {study.name}, predicted: {shape.total:,} parameters, {tokens:,.0f} "
        "tokens",
        level=None,
        shape=shape.changes(),
        parameters=shape.total,
        non_embedding=shape.non_embedding,
        tokens=int(tokens),
        steps=steps,
        flops=tokens * shape.flops_per_token,
        learning_rate=float(f"{learning_rate(spec.rules, shape, tokens):.4g}"),
        memory=shape.memory,
        seconds=None,
        epochs=None,
    )
    mapping = recipe_of(spec, base, planned, study.path).model_dump(mode="json")
    for override in overrides:
        apply_override(mapping, override)
    return _target(validate(mapping, study.name), study.name)


def unique_tokens_of(study: Study) -> float | None:
    """The different tokens of the study's data: as planned, or else as its runs counted their epochs."""
    planned = Plan.from_dict(study.plan()).epoch_tokens
    if planned is not None:
        return float(planned)
    for point in results_of(study, "total").points:
        status = Run(paths.runs_dir() / point.name).status()
        if status.epoch > 0:
            return float(status.num_tokens) / status.epoch
    return None
