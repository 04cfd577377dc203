"""What the Data tab is about: a recipe, and the sources that were added to it or taken out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Subject:
    """A preset by name or a recipe by path, and what is changed in it, by dotted key."""

    source: str = "quickstart"
    changes: dict[str, Any] = field(default_factory=dict)

    def mapping(self) -> dict[str, Any]:
        """The whole recipe as a plain mapping. Raises `RecipeError` when it cannot be used."""
        from workbench.recipe import Recipe, load_mapping, validate
        from workbench.recipe.load import merge

        mapping = merge(Recipe().model_dump(mode="json"), load_mapping(self.source))
        for key, value in self.changes.items():
            section, _, name = key.partition(".")
            mapping.setdefault(section, {})[name] = value
        return validate(mapping, self.source).model_dump(mode="json")

    def sources(self) -> list[dict[str, Any]]:
        """The sources of the recipe, as mappings."""
        found: list[dict[str, Any]] = self.mapping()["data"]["sources"]
        return found

    def add_source(self, path: str) -> None:
        """Add a file, folder, glob or data set; the preset's own `stdlib:` makes way for the first."""
        kept = self.changes.get("data.sources", [])
        self.changes["data.sources"] = [*kept, {"path": path}]

    def remove_source(self, index: int) -> None:
        """Take a source out; the last one stays, for a recipe has at least one."""
        sources = self.sources()
        if len(sources) > 1:
            self.changes["data.sources"] = sources[:index] + sources[index + 1 :]

    def set_source(self, index: int, **values: Any) -> None:
        """Change keys of a source: its kind, its columns, its weight."""
        sources = self.sources()
        sources[index] = {**sources[index], **values}
        self.changes["data.sources"] = sources
