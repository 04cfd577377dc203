"""`workbench model show`: what there is in a checkpoint, without loading it."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import Any

from workbench.cli import parser as grammar

EXAMPLE = """workbench model show nano-1
workbench model show models/llama/ --tensors
workbench model show phi-q4.gguf"""
MOST_KEYS = 60


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    parser = grammar.add_command(
        commands,
        "show",
        run,
        help="show a checkpoint: configuration, layers, tokenizer, chat template, files, what is wrong",
        description="Show a checkpoint: a folder, a run, a GGUF file or a model of the hub. Weights are not\n"
        "loaded, only the headers of their files; no code that came with them is run.",
        example=EXAMPLE,
    )
    parser.add_argument("name", metavar="NAME_OR_FOLDER", help="a folder, a run, a .gguf file, or a hub name")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub model")
    parser.add_argument("--tensors", action="store_true", help="every tensor with its shape and type")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench model show`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.store.inspector import Inspector

    with Inspector() as inspector:
        result = ask(
            inspector, "model", debug=args.debug, name=checkpoint_of(args.name), revision=args.revision
        )
    print(render.as_json(result) if args.json else text_of(result, tensors=args.tensors))
    return 0


def checkpoint_of(name: str) -> str:
    """The folder, file or hub name that a word means; a run's name means its final model."""
    from pathlib import Path

    from workbench.cli.prediction import model_folder
    from workbench.errors import RunError

    path = Path(name).expanduser()
    if path.exists() and not (path / "recipe.yaml").is_file():
        return str(path)
    if path.suffix.lower() == ".gguf":
        return name
    try:
        return model_folder(name)[0]
    except RunError:
        if (path / "recipe.yaml").is_file():
            raise
        return name


def text_of(result: dict[str, Any], *, tensors: bool = False) -> str:
    """A checkpoint in lines."""
    from workbench.cli import render
    from workbench.cli.render import literal

    dtypes = ", ".join(f"{render.count(count)} {name}" for name, count in result["dtypes"].items())
    items = [
        ("architecture", literal(result["architecture"] or "unknown")),
        ("format", result["format"]),
        ("folder", literal(result["folder"])),
        ("parameters", f"{result['parameters']:,} ({dtypes})" if dtypes else "0"),
        ("weights", render.size(result["bytes"])),
    ]
    if result["base_model"]:
        items.insert(1, ("base model", literal(str(result["base_model"]))))
    parts = [f"{render.style(literal(result['name']), 'bold')}\n{render.pairs(items, '  ')}"]
    if result["config"]:
        shown = [(literal(key), _value(value)) for key, value in result["config"].items()][:MOST_KEYS]
        parts.append(_titled("configuration", render.pairs(shown, "  ")))
    if result["groups"]:
        rows = list(_tensor_rows(result["groups"]) if tensors else _layer_rows(result["groups"]))
        head = (
            ["", "tensor", "shape", "type", "size"]
            if tensors
            else ["", "part", "tensors", "parameters", "size"]
        )
        parts.append(_titled("weights", render.table(head, rows, right=(2, 4) if tensors else (2, 3, 4))))
    if result["tokenizer"]:
        parts.append(_titled("tokenizer", _tokenizer(result["tokenizer"])))
    if result["chat"]:
        chat = result["chat"]
        parts.append(_titled("chat template", _indented(chat["template"])))
        if chat["rendered"] is not None:
            parts.append(_titled("a conversation as it renders", _indented(chat["rendered"])))
    files = [(literal(file["path"]), render.size(file["bytes"])) for file in result["files"]]
    parts.append(_titled("files", render.pairs(files, "  ")))
    if result["problems"]:
        lines = [
            "  " + literal(problem["message"]) + (f" ({literal(problem['hint'])})" if problem["hint"] else "")
            for problem in result["problems"]
        ]
        parts.append("\n".join([render.style("problems", "red"), *lines]))
    return "\n\n".join(parts)


def _titled(title: str, body: str) -> str:
    from workbench.cli import render

    return f"{render.style(title, 'bold')}\n{body}"


def _indented(text: str) -> str:
    from workbench.cli.render import literal

    return "\n".join(f"  {line}".rstrip() for line in literal(text, keep_lines=True).split("\n"))


def _value(value: Any) -> str:
    from workbench.cli import render

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return render.clip(render.literal(text), 100)


def _tensor_rows(groups: list[dict[str, Any]]) -> Iterator[list[str]]:
    from workbench.cli import render

    for group in groups:
        for tensor in group["tensors"]:
            shape = " × ".join(f"{size:,}" for size in tensor["shape"]) or "scalar"
            yield [
                "",
                render.literal(tensor["name"]),
                shape,
                render.literal(tensor["dtype"]),
                render.size(tensor["bytes"]),
            ]


def _layer_rows(groups: list[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each part; layers that follow each other and are alike share one."""
    from workbench.cli import render

    for _, same in itertools.groupby(groups, key=_likeness):
        alike = list(same)
        first, last = alike[0], alike[-1]
        name = render.literal(first["name"])
        if len(alike) > 1:
            name += f" … {render.literal(last['name'].rpartition('.')[2])}  ({len(alike)} layers)"
        times = f"{len(alike)} × " if len(alike) > 1 else ""
        yield [
            "",
            name,
            f"{times}{len(first['tensors']):,}",
            f"{times}{first['parameters']:,}",
            f"{times}{render.size(first['bytes'])}",
        ]


def _likeness(group: dict[str, Any]) -> Any:
    """Equal for layers of one stack with the same tensors; a part that is no layer is like none other."""
    if not group["layer"]:
        return group["name"]
    stack, size = group["name"].rpartition(".")[0], len(group["name"])
    names = [(tensor["name"][size:], tensor["shape"], tensor["dtype"]) for tensor in group["tensors"]]
    return stack, names


def _tokenizer(about: dict[str, Any]) -> str:
    from workbench.cli import render
    from workbench.cli.render import literal

    special = ", ".join(
        f"{token['role'].removesuffix('_token')} {literal(token['token'])} ({token['id']})"
        for token in about["special"]
    )
    sample = " ".join(f"“{literal(token['text'])}”" for token in about["sample"]["tokens"])
    items = [
        ("kind", f"{literal(about['kind'])} ({literal(about['class'])})"),
        ("entries", f"{about['vocab_size']:,}"),
        ("special", special or "none"),
        ("longest text", "no limit" if about["max_length"] is None else f"{about['max_length']:,} tokens"),
        ("sample", f"{about['sample']['text']}  →  {sample}"),
    ]
    return render.pairs(items, "  ")
