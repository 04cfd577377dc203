"""`workbench recipe …`: what recipes there are, what they say, and whether they can be used."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.train import add_overrides

FOLDERS = ("runs", "models")


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the group to the grammar."""
    group = grammar.add_group(
        commands,
        "recipe",
        help="list, show and check recipes",
        example="workbench recipe list\nworkbench recipe show nano --changed",
    )
    parser = grammar.add_command(
        group,
        "list",
        list_,
        help="list the presets: yours and those that came along",
        example="workbench recipe list",
    )
    grammar.add_json(parser)

    parser = grammar.add_command(
        group,
        "show",
        show,
        help="print a recipe in full, with overrides applied",
        example="workbench recipe show nano\n"
        "workbench recipe show nano training.max_steps=300 --changed > my-recipe.yaml",
    )
    _add_recipe(parser)
    parser.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    grammar.add_json(parser)

    parser = grammar.add_command(
        group,
        "check",
        check,
        help="say whether a recipe can be used; nothing is read or started",
        example="workbench recipe check my-recipe.yaml",
    )
    _add_recipe(parser)
    grammar.add_json(parser)

    parser = grammar.add_command(
        group,
        "keys",
        keys,
        help="list the keys of a recipe with their defaults and help",
        example="workbench recipe keys\nworkbench recipe keys learning_rate",
    )
    parser.add_argument(
        "words", metavar="WORD", nargs="*", default=[], help="only keys that contain one of these"
    )
    grammar.add_json(parser)

    grammar.add_command(
        group,
        "schema",
        schema,
        help="print the JSON Schema of a recipe, for editors",
        example="workbench recipe schema > recipe.schema.json",
    )


def _add_recipe(parser: grammar.Parser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a preset's name, or a recipe file ending in .yaml")
    add_overrides(parser)


def list_(args: argparse.Namespace) -> int:
    """Handle `workbench recipe list`."""
    from workbench.cli import render
    from workbench.recipe import list_presets

    found = [(folder, preset) for folder in FOLDERS for preset in list_presets(folder)]
    if args.json:
        rows = [
            {
                "name": preset.name if folder == "runs" else f"{folder}/{preset.name}",
                "kind": folder,
                "description": preset.description,
                "path": str(preset.path),
                "builtin": preset.builtin,
            }
            for folder, preset in found
        ]
        print(render.as_json(rows))
        return 0
    table = [
        [
            render.literal(preset.name if folder == "runs" else f"{folder}/{preset.name}"),
            "built in" if preset.builtin else "yours",
            render.literal(preset.description),
        ]
        for folder, preset in found
    ]
    print(render.table(["preset", "from", "description"], table))
    return 0


def show(args: argparse.Namespace) -> int:
    """Handle `workbench recipe show`."""
    from workbench.cli import render
    from workbench.recipe import dump, load

    recipe = load(args.recipe, args.overrides)
    if args.json:
        print(render.as_json(recipe.model_dump(mode="json", exclude_defaults=args.changed)))
    else:
        print(render.literal(dump(recipe, changed_only=args.changed), keep_lines=True), end="")
    return 0


def check(args: argparse.Namespace) -> int:
    """Handle `workbench recipe check`; a recipe that cannot be used is a `RecipeError` with exit code 2."""
    from workbench.cli import render
    from workbench.errors import RecipeError
    from workbench.recipe import load

    try:
        load(args.recipe, args.overrides)
    except RecipeError as error:
        if args.json:
            print(render.as_json({"ok": False, "error": error.as_dict()}))
        raise
    if args.json:
        print(render.as_json({"ok": True, "error": None}))
    else:
        render.talk(f"{args.recipe} can be used")
    return 0


def keys(args: argparse.Namespace) -> int:
    """Handle `workbench recipe keys`."""
    from workbench.cli import render
    from workbench.errors import UsageError

    rows = [
        row for row in describe_keys() if not args.words or any(word in row["key"] for word in args.words)
    ]
    if not rows:
        known = [row["key"] for row in describe_keys()]
        names = known + [key.rpartition(".")[2] for key in known]
        hint = grammar.suggestion(args.words[0], names) or "workbench recipe keys lists them all"
        raise UsageError(f"no key contains “{' '.join(args.words)}”", hint=hint)
    if args.json:
        print(render.as_json(rows))
        return 0
    width = max(len(row["key"]) for row in rows)
    for row in rows:
        default = "" if row["default"] is None else f"  [{_short(row['default'])}]"
        print(f"{row['key']:{width}}  {row['type']}{default}")
        print(f"{' ' * width}  {render.style(row['help'], 'dim')}")
    return 0


def describe_keys() -> list[dict[str, Any]]:
    """Each dotted key with its type, default and help."""
    from workbench.recipe import Recipe

    defaults = Recipe().model_dump(mode="json")
    schema = Recipe.model_json_schema()
    rows = []
    for section, field in Recipe.model_fields.items():
        properties = schema["$defs"][getattr(field.annotation, "__name__", "")]["properties"]
        for name, described in properties.items():
            rows.append(
                {
                    "key": f"{section}.{name}",
                    "type": _type(described),
                    "default": defaults[section][name],
                    "help": described.get("description", ""),
                }
            )
    return rows


def _type(schema: dict[str, Any]) -> str:
    """A JSON Schema type in words: `integer`, `cosine | linear`, `list of text`."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        kinds = [_type(item) for item in schema["anyOf"] if item.get("type") != "null"]
        return " | ".join(kinds)
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = str(schema.get("type", "any"))
    return {"string": "text", "boolean": "true | false"}.get(kind, kind)


def _short(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def schema(args: argparse.Namespace) -> int:
    """Handle `workbench recipe schema`."""
    from workbench.cli import render
    from workbench.recipe import Recipe

    print(render.as_json(Recipe.model_json_schema()))
    return 0
