"""Looking at cleanings from the command line, and ending or removing them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from workbench.cli import render
from workbench.cli.render import literal

PAIRS = 12


def show_list(args: argparse.Namespace) -> int:
    """The cleanings there are, and the presets."""
    from workbench.errors import WorkbenchError
    from workbench.recipe import list_presets
    from workbench.recipe.cleaning import PRESETS
    from workbench.store.cleaning import list_cleanings
    from workbench.store.cleaning_steps import StepReader

    entries: list[dict[str, Any]] = []
    for cleaning in list_cleanings():
        try:
            steps, result = StepReader(cleaning).read(), str(cleaning.result_path())
        except WorkbenchError as error:
            # One that was damaged by hand does not hide the others.
            render.talk(f"{literal(cleaning.name)}: {literal(error.message)}")
            steps, result = [], ""
        entries.append(
            {
                "name": cleaning.name,
                "state": cleaning.status().seen_state(),
                "in": steps[0].came if steps else 0,
                "left": next((step.left for step in reversed(steps) if step.came), 0),
                "result": result,
            }
        )
    presets = [{"name": preset.name, "description": preset.description} for preset in list_presets(PRESETS)]
    if args.json:
        print(render.as_json({"cleanings": entries, "presets": presets}))
        return 0
    if entries:
        rows = [
            [literal(e["name"]), e["state"], f"{e['in']:,}", f"{e['left']:,}", literal(e["result"])]
            for e in entries
        ]
        print(render.table(["cleaning", "state", "read", "left", "result"], rows, right=(2, 3)))
    else:
        render.talk("nothing was cleaned yet; presets to begin with:")
    print(render.pairs([(preset["name"], literal(preset["description"])) for preset in presets], "  "))
    return 0


def show_keys(args: argparse.Namespace) -> int:
    """Every key of a recipe."""
    from workbench.recipe.cleaning import CleaningRecipe

    defaults = CleaningRecipe().model_dump(mode="json")
    entries = []
    for section, field in CleaningRecipe.model_fields.items():
        fields = getattr(field.annotation, "model_fields", None)
        if fields is None:
            entries.append({"key": section, "default": defaults[section], "meaning": field.description})
            continue
        entries += [
            {"key": f"{section}.{key}", "default": defaults[section][key], "meaning": inner.description}
            for key, inner in fields.items()
        ]
    if args.json:
        print(render.as_json(entries))
    else:
        for entry in entries:
            print(f"{render.style(str(entry['key']), 'bold')} = {entry['default']}\n    {entry['meaning']}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from workbench.cli.data import clean_text
    from workbench.store.cleaning import find_cleaning
    from workbench.store.cleaning_steps import StepReader

    cleaning = find_cleaning(args.recipe)
    steps, report = StepReader(cleaning).read(), cleaning.report()
    status = cleaning.status()
    if args.json:
        told = {
            "name": cleaning.name,
            "state": status.seen_state(),
            "steps": [step.as_dict() for step in steps],
        }
        print(render.as_json({**report, **told}))
        return 0
    parts = [f"{literal(cleaning.name)}: {status.seen_state()} {literal(status.message)}".rstrip()]
    parts.append(clean_text.steps_table(steps))
    if report:
        parts += [_mixture(report), _diversity(report), _bias(report)]
    print("\n\n".join(part for part in parts if part))
    return 0


def _mixture(report: dict[str, Any]) -> str:
    mixture = report["mixture"]
    rows = [
        [
            literal(source["source"]),
            f"{source['records']:,}",
            f"{source['words']:,}",
            f"{source['share']:.1%}",
        ]
        for source in mixture["sources"]
    ]
    table = render.table(["source", "records", "words", "share"], rows, right=(1, 2, 3))
    languages = ", ".join(
        f"{literal(code)} {count:,}" for code, count in list(mixture["languages"].items())[:12]
    )
    return table + (f"\nlanguages: {languages}" if languages else "")


def _diversity(report: dict[str, Any]) -> str:
    found = report.get("diversity")
    if not found:
        return ""
    items = [
        ("vocabulary", f"{found['vocabulary']:,} different words"),
        ("entropy of words", f"{found['word_entropy_bits']} bits"),
        ("compression", f"{found['compression']}x by zlib, record by record"),
    ]
    items += [(f"different {n}-grams", f"{found[f'distinct_{n}']['ratio']:.2%}") for n in (1, 2, 3)]
    return f"{render.style('diversity', 'bold')}\n{render.pairs(items, '  ')}"


def _bias(report: dict[str, Any]) -> str:
    found = report.get("bias")
    if not found or not found["pairs"]:
        return ""
    rows = [
        [
            literal(p["group"]),
            literal(p["attribute"]),
            f"{p['count']:,}",
            f"{p['expected']:,}",
            f"{p['pmi']:+.2f}",
        ]
        for p in found["pairs"][:PAIRS]
    ]
    table = render.table(["group", "attribute", "count", "by chance", "PMI"], rows, right=(2, 3, 4))
    lines = [f"who stands near what, within {found['window']} words", table]
    for group, company in list(found["company"].items())[:PAIRS]:
        words = ", ".join(f"{literal(entry['word'])} {entry['pmi']:+.1f}" for entry in company[:8])
        lines.append(f"  near {literal(group)}: {words}")
    return "\n".join(lines)


def _card(args: argparse.Namespace) -> int:
    from workbench.errors import RunError
    from workbench.store.cleaning import find_cleaning

    cleaning = find_cleaning(args.recipe)
    try:
        print(literal(cleaning.card_path().read_text(encoding="utf-8"), keep_lines=True), end="")
    except OSError:
        raise RunError("there is no card yet", where=str(cleaning.card_path())) from None
    return 0


def _examples(args: argparse.Namespace) -> int:
    from workbench.cli.data import clean_text
    from workbench.store.cleaning import find_cleaning
    from workbench.store.cleaning_log import StepLogReader

    log = StepLogReader(find_cleaning(args.recipe), args.examples, reason=args.reason)
    rows = log.page(args.start, args.count)
    if args.json:
        print(
            render.as_json({"step": args.examples, "total": len(log), "start": args.start, "records": rows})
        )
        return 0
    for row in rows:
        print("\n".join(clean_text.example_lines(row)) + "\n")
    shown = f"{args.start + 1:,} to {args.start + len(rows):,} of " if rows else ""
    render.talk(f"{shown}{len(log):,} dropped or changed by {args.examples}")
    return 0


def _stop(args: argparse.Namespace) -> int:
    from workbench.store.cleaning import find_cleaning
    from workbench.store.cleaning_launch import request_stop, wait

    cleaning = find_cleaning(args.recipe)
    request_stop(cleaning)
    render.talk(f"{cleaning.name} is {wait(cleaning, 30)}")
    return 0


def _resume(args: argparse.Namespace) -> int:
    from workbench.cli.data.clean_follow import follow
    from workbench.store.cleaning import find_cleaning
    from workbench.store.cleaning_launch import start

    cleaning = find_cleaning(args.recipe)
    if not cleaning.status().is_active:
        start(cleaning)
    if args.detach:
        print(cleaning.name)
        return 0
    return follow(cleaning, args)


def _remove(args: argparse.Namespace) -> int:
    from workbench.store.cleaning import delete_cleaning, find_cleaning

    cleaning = find_cleaning(args.recipe)
    delete_cleaning(cleaning)
    render.talk(f"{cleaning.name} is removed")
    return 0


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "report": _report,
    "card": _card,
    "examples": _examples,
    "stop": _stop,
    "resume": _resume,
    "rm": _remove,
}
"""What each option does with the cleaning that is named."""
