"""The search tool: passages of the user's own documents, whatever finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from workbench.errors import WorkbenchError
from workbench.prompting.tools.last_words import one_line
from workbench.prompting.tools.tool import CallFailed, Tool

DESCRIPTION = "Search the user's documents. Returns the passages that fit best, numbered, with their titles."
PARAMETERS = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What to look for, in a few words"}},
    "required": ["query"],
    "additionalProperties": False,
}
PASSAGES = 5


class Passage(Protocol):
    """A piece of a document."""

    @property
    def title(self) -> str:
        """The document's title."""
        ...

    @property
    def source(self) -> str:
        """Where it stands, as people write it: `guide.md, lines 3–9`."""
        ...

    @property
    def text(self) -> str:
        """What it says."""
        ...


class Searcher(Protocol):
    """Anything that finds passages."""

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        """At most `k` passages, best first."""
        ...


def search(searcher: Searcher, passages: int = PASSAGES, description: str = DESCRIPTION) -> Tool:
    """The tool over one collection of documents."""

    async def call(arguments: dict[str, Any]) -> str:
        query = arguments["query"].strip()
        if not query:
            raise CallFailed("the query is empty")
        try:
            found = await searcher.search(query, passages)
        except WorkbenchError as error:
            raise CallFailed(error.message) from None
        entries = [
            f"[{number}] {one_line(passage.title)} ({one_line(passage.source)})\n{passage.text.strip()}"
            for number, passage in enumerate(found, 1)
        ]
        return "\n\n".join(entries) or "nothing was found"

    return Tool("search", description, PARAMETERS, call)
