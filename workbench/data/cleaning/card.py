"""The data card of a result: a README as the Hugging Face hub reads it (Pushkarna et al. 2022; Gebru et al.
2021).

Nothing in it depends on when or by how many workers it was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.recipe import yaml_file
from workbench.recipe.cleaning import CleaningRecipe
from workbench.store.files import replace_file

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
TASKS = {
    "text": ["text-generation"],
    "conversation": ["text-generation"],
    "prompt_completion": ["text-generation"],
    "classification": ["text-classification"],
    "regression": ["text-classification"],
    "tagging": ["token-classification"],
    "span_extraction": ["question-answering"],
}
PAIRS = 15
"""Pairs of the bias report that the card tells; the report has all."""


def write_card(path: Path, recipe: CleaningRecipe, report: dict[str, Any], files: int) -> None:
    """Write the card. Raises `StorageError`."""
    parts = [
        f"---\n{yaml_file.write(_front(recipe, report))}---\n",
        f"# {_title(recipe)}\n",
        _summary(report, files),
        _sources(recipe, report),
        _steps(report),
        _found(report),
        _mixture(report),
        _diversity(report),
        _bias(report),
        _recipe(recipe),
    ]
    replace_file(path, "\n".join(part for part in parts if part).encode("utf-8", "replace"), durable=True)


def _title(recipe: CleaningRecipe) -> str:
    return _safe(recipe.output.title or recipe.run.name or "cleaned")


def _front(recipe: CleaningRecipe, report: dict[str, Any]) -> dict[str, Any]:
    total = int(report["mixture"]["total"]["records"])
    counts = report["mixture"]["languages"]
    # Among many short records some are always taken for languages that nobody wrote.
    languages = [code for code, count in counts.items() if code != "und" and count * 100 >= total]
    front: dict[str, Any] = {"pretty_name": recipe.output.title or recipe.run.name or "cleaned"}
    if recipe.output.licence:
        front["license"] = recipe.output.licence
    if languages:
        front["language"] = languages[:20]
    front["size_categories"] = [next((name for most, name in SIZES if total < most), "n>1B")]
    if tasks := TASKS.get(report["kind"]):
        front["task_categories"] = tasks
    pattern = f"data/*.{recipe.output.format}"
    front["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": pattern}]}]
    return front


def _summary(report: dict[str, Any], files: int) -> str:
    total = report["mixture"]["total"]
    first = report["steps"][0]["in"] if report["steps"] else total["records"]
    return (
        f"{total['records']:,} records ({report['kind']}), {total['words']:,} words, {total['characters']:,} "
        f"characters, in {files} file{'s' * (files != 1)}; of {first:,} records that were read.\n"
    )


def _sources(recipe: CleaningRecipe, report: dict[str, Any]) -> str:
    rows = []
    for spec, counts in zip(recipe.data.sources, report["mixture"]["sources"], strict=True):
        licence = recipe.output.licences.get(spec.path, "") or "not given"
        rows.append(
            [spec.path, licence, f"{counts['records']:,}", f"{counts['words']:,}", f"{counts['share']:.1%}"]
        )
    return "## Sources\n\n" + _table(["source", "licence", "records kept", "words", "share"], rows)


def _steps(report: dict[str, Any]) -> str:
    rows = []
    for step in report["steps"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in list(step["reasons"].items())[:6])
        rows.append(
            [step["step"], *(f"{step[name]:,}" for name in ("in", "kept", "changed", "dropped")), reasons]
        )
    return "## What was done\n\n" + _table(["step", "in", "kept", "changed", "dropped", "why"], rows)


def _found(report: dict[str, Any]) -> str:
    found = next((step["found"] for step in report["steps"] if step["step"] == "pii"), None)
    if found is None:
        return ""
    if not found:
        return "## Personal data\n\nNone was found. What has no form or check digit cannot be found.\n"
    rows = [[kind, f"{count:,}"] for kind, count in found.items()]
    said = "Found and dealt with as the recipe says; what has no form or check digit cannot be found.\n"
    return f"## Personal data\n\n{said}\n" + _table(["kind", "found"], rows)


def _mixture(report: dict[str, Any]) -> str:
    mixture = report["mixture"]
    languages = ", ".join(f"{code} {count:,}" for code, count in list(mixture["languages"].items())[:12])
    lengths = [[f"{bin_['from']:,}–{bin_['to']:,}", f"{bin_['records']:,}"] for bin_ in report["lengths"]]
    lines = [
        f"Effective number of sources (e to the entropy of their shares): {mixture['effective_sources']}."
    ]
    if languages:
        lines.append(f"Languages, by records: {languages}.")
    return "## Mixture\n\n" + "\n".join(lines) + "\n\n" + _table(["words", "records"], lengths)


def _diversity(report: dict[str, Any]) -> str:
    found = report.get("diversity")
    if not found:
        return ""
    rows = [
        ["vocabulary (different words)", f"{found['vocabulary']:,}"],
        ["entropy of the words", f"{found['word_entropy_bits']} bits"],
        ["compression of a record (zlib)", f"{found['compression']}×"],
    ]
    rows += [[f"different {n}-grams, of all", f"{found[f'distinct_{n}']['ratio']:.2%}"] for n in (1, 2, 3)]
    return "## Diversity\n\n" + _table(["", ""], rows)


def _bias(report: dict[str, Any]) -> str:
    found = report.get("bias")
    if not found:
        return ""
    if not found["pairs"]:
        return "## Who stands near what\n\nToo few words of groups of people to tell.\n"
    said = (
        f"Counts within {found['window']} words; PMI in bits, 0 is chance. "
        "It tells of the text, not of people.\n"
    )
    rows = [
        [
            pair["group"],
            pair["attribute"],
            f"{pair['count']:,}",
            f"{pair['expected']:,}",
            f"{pair['pmi']:+.2f}",
        ]
        for pair in found["pairs"][:PAIRS]
    ]
    return f"## Who stands near what\n\n{said}\n" + _table(
        ["group", "attribute", "count", "by chance", "PMI"], rows
    )


def _recipe(recipe: CleaningRecipe) -> str:
    mapping = recipe.model_dump(mode="json", exclude_defaults=True)
    mapping.pop("executor", None)
    return f"## Recipe\n\n```yaml\n{yaml_file.write(mapping)}```\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_safe(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    """Text of elsewhere as one cell of a table."""
    return "".join(char if char.isprintable() else "�" for char in text).replace("|", "\\|").replace("`", "'")
