"""Hugging Face data sets: from the hub as a stream, or from a folder on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data.documents import Found
from workbench.data.readers.columns import text_column
from workbench.data.readers.records import text_of
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.recipe import SourceSpec


def is_saved(folder: Path) -> bool:
    """A folder written by `save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def has_card(folder: Path) -> bool:
    """A folder copied from the hub, whose card says which file belongs to which split."""
    try:
        card = (folder / "README.md").read_text(errors="replace")
    except OSError:
        return False
    head = card.split("\n---", 1)[0]
    return head.startswith("---") and any(key in head for key in ("\nconfigs:", "\ndataset_info:"))


def read_hub(spec: SourceSpec, folder: Path | None) -> Iterator[Found]:
    """Yield the text column of a data set, row by row; `folder` where it is on this machine."""
    for record, where in hub_records(spec, folder):
        yield text_of(record, text_column(spec), where), where


def hub_records(spec: SourceSpec, folder: Path | None) -> Iterator[tuple[object, str]]:
    """Yield a data set row by row, all its columns; labels that it stores as numbers by their names."""
    rows = _load(spec, folder)
    try:
        named = _named(getattr(rows, "features", None))
        for number, record in enumerate(rows, 1):
            for column, names in named.items():
                record[column] = _name(record.get(column), names)
            yield record, f"{spec.path}, {spec.split}, row {number}"
    except DataError:
        raise
    except Exception as error:
        # As in loading: HTTP, file system and format libraries share no base class.
        raise _explained(error, spec, folder) from error


def _named(features: Any) -> dict[str, list[str]]:
    """The names of the labels, of the columns whose type is one of names, or a list of such."""
    found = {}
    for column, feature in (features or {}).items():
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
        names = getattr(inner, "names", None)
        if isinstance(names, list):
            found[column] = [str(name) for name in names]
    return found


def _name(value: Any, names: list[str]) -> Any:
    """The name of a label; none is −1, as in the test sets of benchmarks."""
    if isinstance(value, list):
        return [_name(item, names) for item in value]
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return value


def hub_revision(spec: SourceSpec) -> str:
    """The commit that the hub serves now. Raises `DataError` when there is none or no way to ask."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(spec.path, timeout=10).sha)
    except Exception as error:
        # The HTTP library, the hub's library and the system each have their own errors for this.
        raise _explained(error, spec, None) from error


def _load(spec: SourceSpec, folder: Path | None) -> Any:
    import datasets

    try:
        if folder is not None and is_saved(folder):
            saved = datasets.load_from_disk(str(folder))
            return _split_of(saved, spec) if isinstance(saved, datasets.DatasetDict) else saved
        where = spec.path if folder is None else str(folder)
        return datasets.load_dataset(where, spec.config_name, split=spec.split, streaming=True)
    except DataError:
        raise
    except Exception as error:
        # Loading goes through half a dozen libraries, each with its own family of errors.
        raise _explained(error, spec, folder) from error


def _split_of(saved: Any, spec: SourceSpec) -> Any:
    if spec.split not in saved:
        raise DataError(
            f"no split “{spec.split}”; there are {', '.join(saved)}",
            where=spec.path,
            hint=f"name one of them, for example: split: {next(iter(saved), '')}",
        )
    return saved[spec.split]


def _explained(error: Exception, spec: SourceSpec, folder: Path | None) -> DataError:
    name, text = type(error).__name__, str(error).strip().split("\n")[0]
    unreachable = isinstance(error, (ConnectionError, TimeoutError)) or any(
        part in name for part in ("Connect", "Offline", "Timeout", "LocalEntryNotFound")
    )
    if folder is None and unreachable:
        return DataError(
            f"the Hugging Face hub cannot be reached to get “{spec.path}”",
            where=spec.path,
            hint="check the network and HF_HUB_OFFLINE; or, if a file of your own was meant, its path",
        )
    if folder is None and name in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return DataError(
            f"there is no file and no data set on the Hugging Face hub called “{spec.path}”",
            where=spec.path,
            hint="check the spelling; a private or gated data set needs: hf auth login",
        )
    hint = ""
    if "split" in text:
        hint = "name a split that it has as split"
    elif "onfig" in text:
        hint = "name a configuration that it has as config_name"
    return DataError(f"the data set cannot be read: {text or name}", where=spec.path, hint=hint)
