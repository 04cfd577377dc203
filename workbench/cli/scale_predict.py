"""`workbench scale predict`: the loss of a run before it begins, kept with it, and marked on its curve."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import amount
from workbench.cli.train import add_overrides

if TYPE_CHECKING:
    from workbench.scaling.fit_file import Fitted
    from workbench.scaling.targets import Target
    from workbench.store.runs import Run
    from workbench.store.scaling_prediction import Prediction

EXAMPLE = """workbench scale predict tiny-decoders --parameters 1e6 --tokens 2e7
workbench scale predict tiny-decoders --compute 8x --start --name larger   8 times the largest run, and begin
workbench scale predict tiny-decoders launch.num_threads=2 --compute 8x --start
workbench scale predict tiny-decoders nano training.max_steps=4000         a recipe's run
workbench scale predict besiroglu --parameters 7e9 --tokens 2e12           by a published law"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "predict",
        run,
        help="predict the loss of a larger run, with an interval, before it starts",
        description="Predict the held-out loss of a run by the law of a study, or by a published one: of so\n"
        "many parameters and tokens, of some compute spent as the law advises, or of a recipe.\n"
        "With --start the run begins, and its curve carries the prediction.",
        example=EXAMPLE,
    )
    parser.add_argument("study", metavar="STUDY | LAW", help="a study with finished runs, or a published law")
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="predict this recipe's run")
    add_overrides(parser)
    parser.add_argument("--parameters", metavar="N", type=amount, help="size, as the law counts it")
    parser.add_argument("--tokens", metavar="D", type=amount, help="tokens of training")
    parser.add_argument(
        "--compute", metavar="C", type=_compute, help="FLOPs; 8x: as many times those of the largest run"
    )
    parser.add_argument(
        "--unique", metavar="U", type=amount, help="different tokens among them; the study's own otherwise"
    )
    parser.add_argument(
        "--start", action="store_true", help="begin the run, with the prediction on its curve"
    )
    parser.add_argument("--name", metavar="NAME", help="of the run that --start begins")
    parser.add_argument(
        "--run", metavar="RUN", help="keep the prediction with this run, which is not at its end"
    )
    grammar.add_json(parser)


def _compute(text: str) -> tuple[float, bool]:
    """FLOPs, and whether they are a multiple of the largest run's."""
    return (amount(text[:-1]), True) if text.endswith("x") else (amount(text), False)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale predict`."""
    from workbench.cli import render
    from workbench.errors import UsageError

    if args.recipe and "=" in args.recipe:
        # Without a recipe, what is changed is that of the study's own family.
        args.recipe, args.overrides = None, [args.recipe, *args.overrides]
    if args.run and (args.recipe or args.start):
        raise UsageError(
            "--run keeps the prediction of a run that there is: it goes with no recipe, and no --start"
        )
    target, prediction, notes, existing = _predict(args)
    new = None
    if args.start:
        new = _start(target, prediction, args.name, f"{args.study}-predicted", own=args.recipe is None)
    elif existing is not None:
        from workbench.store.scaling_prediction import write_prediction

        write_prediction(existing, prediction)
        new = existing
    if args.json:
        told = {
            **prediction.as_dict(),
            "non_embedding": target.non_embedding,
            "perplexity": math.exp(prediction.loss),
            "notes": notes,
            "run": new.name if new else None,
        }
        print(render.as_json(told))
        return 0
    print(page(target, prediction, notes))
    if args.start and new is not None:
        render.talk(f"run {new.name} goes on by itself; watch it with: workbench runs follow {new.name}")
    elif new is not None:
        render.talk(f"kept with the run {new.name}")
    return 0


def _predict(args: argparse.Namespace) -> tuple[Target, Prediction, list[str], Run | None]:
    """The target, what is predicted of it, what is to be said, and the run that was named."""
    from workbench.errors import RunError, UsageError
    from workbench.store.runs import find_run
    from workbench.store.scaling_studies import find_study

    existing = find_run(args.run) if args.run else None
    if existing is not None and existing.status().state == "finished":
        raise RunError("the run is finished: nothing of it can be predicted any more", where=existing.name)
    try:
        study = find_study(args.study)
    except RunError as error:
        from workbench.scaling.published import published_laws

        names = [law.name for law in published_laws()]
        if args.study not in names:
            hint = error.hint if error.hint.startswith("did") else grammar.suggestion(args.study, names)
            raise RunError(
                f"there is no study and no law called “{args.study}”",
                where=error.where,
                hint=hint or error.hint,
            ) from None
        return (*_by_law(args, existing), existing)
    from workbench.scaling import fit_file, targets
    from workbench.scaling.predicting import learning_shape, predict
    from workbench.scaling.results import results_of
    from workbench.scaling.study_files import fit_study
    from workbench.store.scaling_prediction import law_of

    found = fit_study(study, anew=False)
    fitted = fit_file.from_dict(found)
    if existing is not None:
        target = targets.of_recipe(str(existing.recipe_path), (), study)
    elif args.recipe:
        target = targets.of_recipe(args.recipe, args.overrides, study)
    else:
        target = targets.of_family(
            study,
            args.name,
            parameters=args.parameters,
            tokens=args.tokens,
            compute=_flops(args.compute, fitted),
            fitted=fitted,
            overrides=args.overrides,
        )
    if args.recipe and any((args.parameters, args.tokens, args.compute)):
        raise UsageError("a recipe says its own size and length", where="--parameters, --tokens, --compute")
    unique = args.unique or targets.unique_tokens_of(study)
    prediction = predict(
        fitted,
        parameters=target.counted(fitted.law.count),
        tokens=target.tokens,
        flops=target.flops,
        step=target.steps,
        law=law_of(study.name),
        unique=unique,
        shape=learning_shape(results_of(study, fitted.law.count).points, fitted.law.E),
    )
    return target, prediction, [*target.notes, *_notes(found, prediction, unique)], existing


def _flops(compute: tuple[float, bool] | None, fitted: Fitted) -> float | None:
    if compute is None:
        return None
    return compute[0] * fitted.largest if compute[1] else compute[0]


def _notes(found: dict[str, Any], prediction: Prediction, unique: float | None) -> list[str]:
    from workbench.scaling.results import ASKED

    told = []
    if prediction.forms:
        told.append(
            "the forms of law by themselves: "
            + ", ".join(
                f"{form} {loss:.4f} (weight {found['weights'][form]:.0%})"
                for form, loss in prediction.forms.items()
            )
        )
    if asked := [name for name, why in found["left_out"].items() if why == ASKED]:
        told.append(f"the law leaves out {', '.join(asked)}, as its fit was asked to")
    left = found["leave_largest_out"]
    if prediction.factor is not None and prediction.factor > 1:
        words = f"it takes {prediction.factor:.3g}× the compute of the largest run that was fitted"
        if left is not None:
            words += (
                f"; at {left['factor']:.1f}× the law of the others erred by {left['worst']:+.2%} at worst"
            )
        told.append(words)
    if unique and prediction.tokens > unique:
        told.append(
            f"it sees the data {prediction.tokens / unique:.2f} times; repeats count for what they are worth "
            "(Muennighoff et al. 2023)"
        )
    told += [f"doubt: {words}" for words in found["doubts"]]
    return told


def _by_law(args: argparse.Namespace, existing: Run | None) -> tuple[Target, Prediction, list[str]]:
    """By a published law, of whose certainty nothing is known."""
    from workbench.errors import UsageError
    from workbench.scaling import targets
    from workbench.scaling.laws import COUNT_WORDS
    from workbench.scaling.predicting import predict_by
    from workbench.scaling.published import find_law

    found = find_law(args.study)
    if existing is not None:
        target = targets.of_recipe(str(existing.recipe_path), (), None)
    elif args.recipe:
        target = targets.of_recipe(args.recipe, args.overrides, None)
    else:
        if args.compute and args.compute[1]:
            raise UsageError("a published law has no largest run", where="--compute", hint="--compute 1e21")
        if args.start:
            raise UsageError(
                "there is no recipe to start",
                where="--start",
                hint="name one behind the law, or take a study",
            )
        size, tokens = args.parameters, args.tokens
        flops = args.compute[0] if args.compute else None
        if flops and not size and not tokens:
            size, tokens = float(found.law.optimal_parameters(flops)), float(found.law.optimal_tokens(flops))
        elif flops and size and not tokens:
            tokens = flops / 6 / size
        elif flops and tokens and not size:
            size = flops / 6 / tokens
        if not size or not tokens:
            raise UsageError(
                "two of size, tokens and compute say what to predict; compute alone is compute-optimal",
                hint="--parameters 7e9 --tokens 2e12",
            )
        target = targets.Target(size, size, tokens, 6 * size * tokens, 1, None)
    prediction = predict_by(
        found.law,
        parameters=target.counted(found.law.count),
        tokens=target.tokens,
        flops=target.flops,
        step=target.steps,
        name=found.name,
        unique=args.unique,
    )
    notes = [
        f"{found.source}",
        f"N: {COUNT_WORDS[found.law.count]}; another tokenizer or text has other losses",
    ]
    return target, prediction, notes


def _start(target: Target, prediction: Prediction, name: str | None, stem: str, *, own: bool) -> Run:
    """Make the run, keep the prediction with it, and only then start it."""
    from workbench.store import launch
    from workbench.store.runs import create_run
    from workbench.store.scaling_prediction import write_prediction

    assert target.recipe is not None
    if name is not None or own:
        target.recipe.run.name = name
    run = create_run(target.recipe, stem)
    write_prediction(run, prediction)
    launch.start(run)
    return run


def page(target: Target, prediction: Prediction, notes: list[str]) -> str:
    """The prediction for a person."""
    from workbench.cli import render

    interval = (
        f" [{prediction.low:.4f}, {prediction.high:.4f}] ({prediction.level:.0%})" if prediction.level else ""
    )
    facts = [
        ("loss", render.style(f"{prediction.loss:.4f}", "bold") + interval + " nats a token"),
        ("perplexity", f"{math.exp(prediction.loss):.4g}"),
        ("parameters", f"{target.parameters:,.0f}, {target.non_embedding:,.0f} without embeddings"),
        ("tokens", f"{target.tokens:,.0f}, {target.tokens / target.parameters:.3g} a parameter"),
        ("steps", f"{target.steps:,}" if target.recipe else ""),
        ("compute", f"{target.flops:.3g} FLOPs"),
        ("by", render.literal(prediction.law)),
    ]
    parts = [render.pairs([fact for fact in facts if fact[1]])]
    parts += [render.literal(note) for note in notes]
    return "\n".join(parts)
