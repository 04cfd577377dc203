"""The collections of documents that a technique searches, and the state each is in."""

from __future__ import annotations

from workbench.prompting.composition import Composition
from workbench.prompting.retrieval.fingerprint import fingerprint
from workbench.prompting.tools.specification import SearchSettings, read_entry


def searched(technique: Composition) -> dict[str, str]:
    """The fingerprint of each collection that passages or the search tool come from, by its name.

    Raises `DataError` for a collection that is not there, `PromptError`.
    """
    names = [getattr(technique.settings.get("rag"), "collection", "")]
    for entry in getattr(technique.settings.get("tools"), "tools", ()):
        settings = read_entry(entry)
        if isinstance(settings, SearchSettings):
            names.append(settings.collection)
    return {name: fingerprint(name) for name in dict.fromkeys(names) if name}
