"""Models that were fetched: one folder each under `models/`, as transformers reads them."""

from __future__ import annotations

from pathlib import Path

from workbench import paths


def models_dir() -> Path:
    """The folder of fetched models."""
    return paths.home() / "models"


def find_pulled(name: str) -> Path | None:
    """The folder of a fetched model, or None."""
    folder = models_dir() / name
    inside = folder.parent == models_dir() and (folder / "config.json").is_file()
    return folder if inside and not name.startswith(".") else None


def every_pulled() -> list[Path]:
    """All fetched models, by name."""
    try:
        return sorted(path for path in models_dir().iterdir() if find_pulled(path.name))
    except OSError:
        return []
