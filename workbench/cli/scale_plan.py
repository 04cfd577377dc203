"""`workbench scale plan`: the runs of a study under a budget, before any of them is started."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar
from workbench.cli.numbers import positive
from workbench.cli.train import add_overrides, stem_of

if TYPE_CHECKING:
    from workbench.scaling.plan import Plan
    from workbench.scaling.spec import StudySpec
    from workbench.store.scaling_studies import Study

EXAMPLE = """workbench scale plan tiny-decoders
workbench scale plan nano --budget 2e14 --name mine
workbench scale plan nano --budget 3h grid=ratio ratio.tokens_per_parameter=[10,20,40]
workbench scale plan study.yaml --budget 8h --gpu H100 --gpus 8 isoflop.levels=5 data.sources=[corpus/]"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "plan",
        run,
        help="the runs of a study under a budget; nothing is started",
        description="Plan a study: sizes and numbers of tokens under a budget, as an IsoFLOP grid, at fixed\n"
        "ratios, or free. STUDY is a preset of a study, a file, or a recipe to make one of.\n"
        "The plan is kept under the study's name, for workbench scale run.",
        example=EXAMPLE,
    )
    parser.add_argument(
        "study", metavar="STUDY", nargs="?", help="a study's or a recipe's preset or file; without: a list"
    )
    add_overrides(parser)
    parser.add_argument("--name", metavar="NAME", help="of the study; STUDY's own otherwise")
    parser.add_argument("--budget", metavar="B", help="of all runs: 2e14 (FLOPs), or 90m, 3h, 2d")
    parser.add_argument("--gpu", metavar="NAME", help="reckon time on this GPU, such as H100")
    parser.add_argument("--gpus", metavar="N", type=positive, help="on so many of them")
    parser.add_argument("--measure", action="store_true", help="measure how fast this machine is")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and keep nothing")
    parser.add_argument(
        "--skip-data", action="store_true", help="do not prepare the data, whose tokens stay unknown"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale plan`."""
    from workbench.cli import render
    from workbench.scaling.plan import make_plan
    from workbench.scaling.study_files import load_spec, save_plan, take_budget
    from workbench.scaling.sums import write_sums
    from workbench.store.scaling_studies import new_study

    if args.study is None:
        return _list_presets(args.json)
    spec = load_spec(args.study, args.overrides)
    take_budget(spec, args.budget, args.gpu, args.gpus)
    name = args.name or stem_of(args.study)
    if args.measure:
        from workbench.models.estimate import measure_speed

        render.talk("measuring this machine …")
        measure_speed()
    # Before the data, which may take minutes to read, everything else that may be wrong is looked at.
    plan = make_plan(spec, name, where=args.study)
    study = None if args.dry_run else new_study(name)
    if study is not None:
        if spec.arithmetic is not None:
            write_sums(spec.arithmetic, study.path)
        if not args.skip_data:
            tokens = data_tokens(spec, plan, study, debug=args.debug)
            plan = make_plan(spec, name, where=args.study, epoch_tokens=tokens)
        save_plan(study, spec, plan)
    if args.json:
        print(render.as_json({"name": name, "saved": study is not None, **plan.as_dict()}))
        return 0
    print(page(name, spec, plan))
    if study is not None:
        render.talk(f"kept as {name}; it is run by: workbench scale run {name}")
    return 0


def _list_presets(as_json: bool) -> int:
    from workbench.cli import render
    from workbench.scaling.study_files import study_presets

    found = study_presets()
    if as_json:
        print(render.as_json([{"name": name, "description": words} for name, (_, words) in found.items()]))
    else:
        rows = [(render.literal(name), render.literal(words)) for name, (_, words) in found.items()]
        print(render.pairs(rows))
        render.talk("a recipe will do too: workbench scale plan nano --budget 2e14")
    return 0


def data_tokens(spec: StudySpec, plan: Plan, study: Study, *, debug: bool = False) -> int:
    """Prepare the data that all runs of a study share, into their cache; returns its tokens in an epoch."""
    from workbench.cli import prediction, render
    from workbench.scaling.recipes import base_recipe, recipe_of

    where = str(study.spec_path)
    recipe = recipe_of(spec, base_recipe(spec, where), plan.runs[0], study.path)
    render.talk("preparing the data that all runs share …")
    request = {"command": "corpus", "recipe": recipe.model_dump(mode="json"), "where": where}
    (event,) = prediction.ask(request, debug=debug)
    return int(event["epoch_tokens"])


def page(name: str, spec: StudySpec, plan: Plan) -> str:
    """The plan for a person."""
    from workbench.cli import render

    count = spec.shapes.count
    counted = "total" if count == "total" else "without embeddings"
    facts = [
        ("study", render.literal(name)),
        ("grid", f"{spec.grid}, {len(plan.runs)} runs, N: parameters {counted}"),
        ("compute", f"{plan.flops:.3g} FLOPs in all"),
        ("time", _time(plan)),
        ("data", f"{render.count(plan.epoch_tokens)} tokens in an epoch" if plan.epoch_tokens else ""),
        ("rate", _rule(spec)),
    ]
    headers = (
        "run",
        "width × layers",
        "N",
        "tokens",
        "D/N",
        "steps",
        "lr",
        "FLOPs",
        "share",
        "epochs",
        "time",
    )
    rows = []
    for one in plan.runs:
        size = one.parameters if count == "total" else one.non_embedding
        rows.append(
            (
                render.literal(one.name),
                f"{one.shape['hidden_size']} × {one.shape['num_hidden_layers']}",
                render.count(size),
                render.count(one.tokens),
                f"{one.tokens / size:.3g}",
                f"{one.steps:,}",
                f"{one.learning_rate:.3g}",
                f"{one.flops:.2g}",
                f"{one.flops / plan.flops:.1%}",
                f"{one.epochs:.2f}" if one.epochs is not None else units.NONE,
                units.duration(one.seconds),
            )
        )
    parts = [
        render.pairs([fact for fact in facts if fact[1]]),
        render.table(headers, rows, right=range(2, len(headers))),
    ]
    parts += [f"note: {render.literal(note)}" for note in plan.notes]
    return "\n\n".join(parts)


def _time(plan: Plan) -> str:
    if plan.seconds is None:
        return f"unknown: {plan.machine}"
    return f"about {units.duration(plan.seconds)}, one run after the other, on {plan.machine}"


def _rule(spec: StudySpec) -> str:
    rules: Any = spec.rules
    longer = f" × (tokens / {rules.at_tokens:g})^{rules.tokens_exponent:g}" if rules.tokens_exponent else ""
    words = {
        "width": f"{rules.learning_rate:g} × (width / {rules.at_width})^{rules.width_exponent:g}{longer}",
        "kaplan": "0.003239 − 0.0001395·ln N",
        "constant": f"{rules.learning_rate:g}{longer}",
    }[rules.learning_rate_rule]
    return f"{words}, {rules.lr_scheduler_type} to {rules.min_lr_ratio:g} of it at the end of every run"
