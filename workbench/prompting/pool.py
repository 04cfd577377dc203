"""The examples a demonstration is chosen from, in the order of choice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence

from workbench.errors import PromptError
from workbench.inference.generation import Embedder
from workbench.prompting.examples import Example, as_examples, read_examples
from workbench.prompting.few_shot_settings import FewShotSettings
from workbench.prompting.nearest import ByMeaning, ByWords, Ranking
from workbench.prompting.technique import Task


class Pool:
    """Examples, read once; what ranks them is made when it is first needed."""

    def __init__(self, examples: Sequence[Example], settings: FewShotSettings) -> None:
        self.examples, self.settings = examples, settings
        self.where = settings.file or "examples"
        self._order: list[Example] = list(examples)
        if settings.choose == "random":
            random.Random(settings.seed).shuffle(self._order)
        elif settings.choose == "by_hand":
            self._order = [self._picked(pick) for pick in settings.pick]
        self._rankings: dict[str, Ranking] = {}
        self._ranking = asyncio.Lock()

    @classmethod
    async def open(cls, settings: FewShotSettings) -> Pool:
        """Read the examples, in a thread. Raises `PromptError`, `DataError`."""
        if settings.file is not None:
            read = await asyncio.to_thread(read_examples, settings.file, settings.columns, settings.header)
            return cls(read, settings)
        rows = ((row, f"example {number}") for number, row in enumerate(settings.examples))
        return cls(list(as_examples(rows, settings.columns, "examples")), settings)

    async def ranked(self, task: Task, embedder: Embedder | None) -> Iterable[tuple[Example, float | None]]:
        """Every example that may be shown, with its score where there is one. Raises `ServerError`."""
        if self.settings.choose != "nearest":
            return [(example, None) for example in self._order]
        ranking = await self._nearest(embedder)
        return [(self.examples[number], score) for number, score in await ranking.rank(task.question)]

    async def _nearest(self, embedder: Embedder | None) -> Ranking:
        """The ranking of all examples, made once for each embedder."""
        dense = self.settings.retriever == "dense"
        if dense and embedder is None:
            raise PromptError(
                "dense retrieval needs an embedding model",
                where="few_shot",
                hint="retriever: bm25 needs none",
            )
        used = embedder if dense else None
        name = used.name if used is not None else ""
        texts = [example.question for example in self.examples]
        async with self._ranking:
            if name not in self._rankings:
                ranking = ByWords.of(texts) if used is None else ByMeaning.of(texts, used)
                self._rankings[name] = await ranking
            return self._rankings[name]

    def _picked(self, pick: int | str) -> Example:
        """The example with an id, else the one in a row."""
        for example in self.examples:
            if example.id == str(pick):
                return example
        if isinstance(pick, int) and 0 <= pick < len(self.examples):
            return self.examples[pick]
        raise PromptError(
            f"there is no example “{pick}”",
            where=self.where,
            hint=f"rows count from 0 to {len(self.examples) - 1}",
        )
