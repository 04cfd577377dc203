"""The columns of a file under the names that the workbench knows, as a recipe maps them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.recipe import SourceSpec


def names_of(spec: SourceSpec) -> list[str] | None:
    """The names of the columns of a file without a header line, or None."""
    return spec.columns if isinstance(spec.columns, list) else None


def mapping_of(spec: SourceSpec) -> dict[str, str]:
    """Our name of a column to that in the file; `text_column` is the older way to say it of the text."""
    mapping = dict(spec.columns) if isinstance(spec.columns, dict) else {}
    if spec.text_column != "text":
        mapping.setdefault("text", spec.text_column)
    return mapping


def text_column(spec: SourceSpec) -> str:
    """The column of the file that holds the text."""
    return mapping_of(spec).get("text", "text")


def renamed(values: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """A record under our names, the named columns first; another column of such a name gives way."""
    if not mapping:
        return dict(values)
    found = {ours: values[theirs] for ours, theirs in mapping.items() if theirs in values}
    taken = set(mapping.values())
    found.update((name, value) for name, value in values.items() if name not in found and name not in taken)
    return found


def check_names(mapping: Mapping[str, str], columns: Sequence[str], where: str) -> None:
    """Raise `DataError` when a recipe maps a column that the file does not have."""
    for ours, theirs in mapping.items():
        if theirs not in columns:
            near = difflib.get_close_matches(theirs, columns, n=1) or list(columns[:1])
            raise DataError(
                f"no column “{theirs}”, which is named for {ours}; the columns are {', '.join(columns)}",
                where=where,
                hint=f"columns: {{{ours}: {near[0]}}}" if near else "",
            )
